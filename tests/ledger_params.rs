//! A ledger's parameters: the TOML file, the encoding, genesis and chain id.

use blockmill::ledger::{Account, InvalidParams, Params};
use blockmill::primitives::Hash256;

const SALT: &str = "0101010101010101010101010101010101010101010101010101010101010101";

/// A file with one line replaced by `with`, where `what` is how that line begins.
fn file(what: &str, with: &str) -> String {
    let account = |key: u8| Account::from_key([key; 32]).to_string();
    let text = format!(
        "format = 1\nname = \"example\"\ntime = 1767225600\nsalt = \"{SALT}\"\n\
         target_spacing_s = 600\nhalf_life_s = 172800\npow_limit = \"207fffff\"\n\
         subsidy = 5000000000\nhalving_blocks = 210000\nfuture_max_s = 7200\n\
         block_bytes_max = 4000000\n\
         [[allocation]]\naccount = \"{}\"\namount = \"1000\"\n\
         [[allocation]]\naccount = \"{}\"\namount = 7\n",
        account(9),
        account(2)
    );
    let lines = text.lines().map(|line| if line.starts_with(what) { with } else { line });
    lines.map(|line| format!("{line}\n")).collect()
}

fn example() -> Params {
    Params::from_toml(&file("-", "")).expect("a sound file")
}

/// The encoding, byte for byte: whoever changes it changes every chain id.
#[test]
fn the_encoding_and_the_chain_id_hold_still() {
    let params = example();
    let key = |key: u8| format!("00{}", hex::encode([key; 32]));
    let golden = [
        "01".into(),                             // format
        format!("07{}", hex::encode("example")), // name
        "00b95569".into(),                       // time
        SALT.into(),
        "d804".into(),       // spacing
        "80c60a".into(),     // half-life
        "ffff7f20".into(),   // limit
        "80e497d012".into(), // subsidy
        "d0e80c".into(),     // halving
        "a038".into(),       // clock
        "8092f401".into(),   // block size
        "02".into(),         // allocations, ascending
        format!("{}07", key(2)),
        format!("{}e807", key(9)),
    ]
    .concat();
    assert_eq!(hex::encode(params.encode()), golden);
    assert_eq!(Params::decode(&params.encode()), Ok(params.clone()));
    let genesis = params.genesis();
    assert_eq!((genesis.version(), genesis.parent(), genesis.nonce()), (1, Hash256::ZERO, 0));
    assert_eq!((genesis.time(), genesis.bits().to_bits()), (1_767_225_600, 0x207f_ffff));
    // RFC 6962: SHA-256 of a zero byte and the leaf.
    let leaf = blockmill::compute::Reference::sha256(&[&[0], &params.encode()[..]].concat());
    assert_eq!(*genesis.merkle_root().as_bytes(), leaf);
    assert_eq!(params.chain_id(), genesis.id());
    let renamed = Params::from_toml(&file("name", "name = \"other\"")).expect("a sound file");
    assert_ne!(renamed.chain_id(), params.chain_id());
}

#[test]
fn the_order_of_allocations_and_the_form_of_amounts_make_no_difference() {
    let decimal = Params::from_toml(&file("subsidy", "subsidy = \"5000000000\"")).expect("sound");
    assert_eq!(decimal.chain_id(), example().chain_id());
    let default = Params::from_toml(&file("future_max_s", "")).expect("sound");
    assert_eq!(default.chain_id(), example().chain_id());
    let short = file("half_life_s", "half_life_s = 2400").replace("future_max_s = 7200", "");
    assert_eq!(Params::from_toml(&short).expect("sound").future_max_s(), 100);
}

#[test]
fn files_that_make_no_ledger_are_refused_and_name_the_key() {
    let twice = format!("account = \"{}\"", Account::from_key([9; 32]));
    for (what, with, names) in [
        ("format", "format = 2", "format"),
        ("name", "name = \"\"", "name"),
        ("name", "name = \"a\\u0007b\"", "name"),
        ("name", "", "name"),
        ("name", "name = \"example\"\nunknown = 1", "unknown"),
        ("name", "name = 1.5", "name"),
        ("time", "time = -1", "time"),
        ("time", "time = 4294967296", "time"),
        ("salt", "salt = \"00\"", "salt"),
        ("target_spacing_s", "target_spacing_s = 0", "target_spacing_s"),
        ("half_life_s", "half_life_s = 0", "half_life_s"),
        ("pow_limit", "pow_limit = \"+07fffff\"", "pow_limit"),
        ("pow_limit", "pow_limit = \"20800000\"", "pow_limit"),
        ("pow_limit", "pow_limit = \"2100ffff00\"", "pow_limit"),
        ("pow_limit", "pow_limit = \"1e000fff\"", "pow_limit"), // not its compact form
        ("subsidy", "subsidy = -1", "subsidy"),
        ("subsidy", "subsidy = \"+5\"", "subsidy"),
        ("subsidy", "subsidy = \"18446744073709551616\"", "subsidy"),
        ("subsidy", "subsidy = \"18446744073709551615\"", "subsidy"),
        ("halving_blocks", "halving_blocks = 0", "halving_blocks"),
        ("future_max_s", "future_max_s = 7201", "future_max_s"),
        ("half_life_s", "half_life_s = 2400", "future_max_s"),
        ("block_bytes_max", "block_bytes_max = 100", "block_bytes_max"),
        ("block_bytes_max", "block_bytes_max = 33554433", "block_bytes_max"),
        ("amount = 7", "amount = 0", "allocation"),
        ("amount = 7", "amount = 18446744073709551615", ""),
        ("account", &twice, "allocation"),
        ("account", "account = \"bm1qqq\"", "allocation"),
    ] {
        let error = Params::from_toml(&file(what, with)).expect_err(with);
        assert!(error.to_string().contains(names), "'{with}': {error}");
    }
}

#[test]
fn all_coins_together_fit_64_bits() {
    // 2^64 - 1 in all: no subsidy, and allocations up to the brim.
    let brim = |amount: u64| {
        let text = file("subsidy", "subsidy = 0");
        Params::from_toml(&text.replace("amount = 7", &format!("amount = \"{amount}\"")))
    };
    assert!(brim(u64::MAX - 1000).is_ok());
    assert!(matches!(brim(u64::MAX - 999), Err(InvalidParams::Value { .. })));
    let params = example();
    assert_eq!(params.subsidy(1), 5_000_000_000);
    assert_eq!(params.subsidy(209_999), 5_000_000_000);
    assert_eq!(params.subsidy(210_000), 2_500_000_000);
    assert_eq!(params.subsidy(210_000 * 33), 0);
    assert_eq!(params.subsidy(u64::MAX), 0);
}

/// No byte of the encoding can be changed, cut or added without another ledger or a refusal.
#[test]
fn encodings_are_canonical() {
    let bytes = example().encode();
    for place in 0..bytes.len() {
        assert!(Params::decode(&bytes[..place]).is_err());
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[place] ^= 1 << bit;
            if let Ok(params) = Params::decode(&changed) {
                assert_eq!(params.encode(), changed);
                assert_ne!(params.chain_id(), example().chain_id());
            }
        }
    }
    assert!(Params::decode(&[&bytes[..], &[0]].concat()).is_err());
}
