//! Ledgers in chain files, and the commands that look into chain files.
#![cfg(feature = "mine")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use blockmill::chain::file::{ChainFileError, FrameType, MemoryStorage};
use blockmill::compute::Cpu;
use blockmill::ledger::generate::Options;
use blockmill::ledger::{Account, Block, HeaderRules, LoadedLedger, Transaction};
use blockmill::primitives::Header;
use blockmill::stages::{NotAccepted, accept, check_ledger};
use blockmill::verdict::Violation;
use serde_json::Value;

use common::chain::{extend, from_genesis};
use common::chain_file::{
    PAGE, SLOTS, Shared, append_ledger, append_ledger_with, dissect, generated, header_file,
    ledger_file, parts_of, small_ledger, up_to_the_side_branch, with_frame,
};

fn open(bytes: &[u8]) -> Result<LoadedLedger, ChainFileError> {
    LoadedLedger::open(Box::new(MemoryStorage { bytes: bytes.to_vec() }), |_, _| Ok(()))
}

/// A small ledger, of which the file has seen the side branch first.
fn reorganised() -> (Vec<u8>, Vec<u8>) {
    let dump = small_ledger();
    let file = ledger_file(&[up_to_the_side_branch(&dump), dump.clone()]);
    (file.bytes(), dump)
}

#[test]
fn the_same_dump_changes_nothing_and_a_longer_branch_reorganises() {
    let (bytes, dump) = reorganised();
    let types: Vec<_> = dissect_types(&bytes);
    assert!(types.contains(&3), "{types:?}");
    let once = ledger_file(std::slice::from_ref(&dump));
    let twice = ledger_file(&[dump.clone(), dump.clone()]);
    assert_eq!(once.bytes(), twice.bytes());
    assert_eq!(once.writes(), twice.writes());
    let (direct, detour) = (open(&once.bytes()).expect("a file"), open(&bytes).expect("a file"));
    let tip = |loaded: &LoadedLedger| loaded.tree.block(loaded.store.tip()).id();
    assert_eq!(tip(&direct), tip(&detour));
    assert_eq!(direct.transactions, detour.transactions);
    assert_eq!(direct.state.supply(), detour.state.supply());
    let accounts = |loaded: &LoadedLedger| {
        let mut all: Vec<_> = loaded
            .state
            .accounts()
            .map(|(account, state)| (*account, state.balance, state.nonce))
            .collect();
        all.sort_unstable();
        all
    };
    assert_eq!(accounts(&direct), accounts(&detour));
    // The losing branch, seen last, changes nothing.
    let late = ledger_file(&[dump.clone(), up_to_the_side_branch(&dump)]);
    assert_eq!(late.bytes(), once.bytes());
}

/// Whoever writes the file: the same bytes and acknowledgements; and if the disk fails, the reason, and
/// acknowledgements of what is there.
#[test]
fn a_file_does_not_depend_on_who_writes_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("dump");
    let dump = small_ledger();
    std::fs::write(&path, &dump).expect("a file");
    let append = |threads, fails_after: Option<usize>| {
        let file = Shared::default();
        // The side branch first, so that the file is reorganised.
        std::fs::write(&path, up_to_the_side_branch(&dump)).expect("a file");
        let (first, mut acks) = append_ledger_with(&path, &file, threads, 1);
        first.expect("a judgement");
        let before = acks.len();
        if let Some(syncs) = fails_after {
            file.fail_after(syncs);
        }
        std::fs::write(&path, &dump).expect("a file");
        let (second, more) = append_ledger_with(&path, &file, threads, 1);
        acks.extend(more);
        (file, acks, before, second)
    };
    let (alone, acks, before, validation) = append(1, None);
    validation.expect("a judgement");
    assert!(before > 1 && acks.len() > before + 1, "{before} commits, and then {acks:?}");
    let (overlapped, same_acks, _, validation) = append(3, None);
    validation.expect("a judgement");
    assert!(overlapped.bytes() == alone.bytes());
    assert_eq!(same_acks, acks);
    for syncs in 0..=2 * (acks.len() - before) {
        // Twice, as it is a matter of time who notices.
        for threads in [1, 3, 3] {
            let (file, told, _, validation) = append(threads, Some(syncs));
            let which = format!("{threads} threads, {syncs} syncs");
            match validation {
                Err(error) => assert!(error.to_string().contains("the disk is gone"), "{error}"),
                // Commits that wait for the disk share syncs, so that there may be fewer.
                Ok(_) => assert!(threads > 1 && told == acks, "{which}"),
            }
            // Before the first block is taken back, what was found is synced.
            let two_each = before + syncs.saturating_sub(1) / 2;
            assert!(acks.starts_with(&told) && told.len() >= two_each, "{which}: {told:?}");
            assert!(threads > 1 || told.len() == two_each, "{which}: {told:?}");
            let loaded = open(&file.bytes()).expect("a file");
            let tip = loaded.tree.block(loaded.store.tip());
            let last = told.last().expect("one at least");
            let is_there =
                tip.lineage().any(|block| (block.height(), block.id().to_string()) == *last);
            // The slot of the commit that took it back may have been written, and not synced. (An empty file has
            // two commits.)
            let commits = loaded.store.file().commit_record().sequence - 1;
            let is_taken_back = told.len() == before && commits > before as u64;
            assert!(is_there || is_taken_back, "{last:?} is not there, {which}");
        }
    }
}

#[test]
fn genesis_is_no_next_block() {
    let mut loaded = open(&reorganised().0).expect("a file");
    let genesis = [loaded.store.params().genesis().as_bytes(), &[0][..]].concat();
    let cpu = Cpu::new(1).expect("a thread");
    let refused = accept(&mut loaded, &genesis, u64::MAX, &cpu).expect_err("no child of the tip");
    assert!(matches!(refused, NotAccepted::Rejected(Violation::BadPrevBlk { .. })), "{refused}");
}

/// The types of all frames; the head of a small ledger has one page.
fn dissect_types(bytes: &[u8]) -> Vec<u8> {
    dissect(bytes).frames.iter().map(|(_, kind, _)| *kind).collect()
}

#[test]
fn a_transfer_takes_at_most_78_bytes() {
    let dump = generated(&Options {
        seed: "size".into(),
        blocks: 100,
        transactions: 1000,
        accounts: 1000,
        payload_bytes: (0, 0),
        memo_bytes: (0, 0),
        records_percent: 0,
        forks: 0,
    });
    let bytes = ledger_file(&[dump]).bytes();
    let each = bytes.len() as f64 / 100_000.0;
    eprintln!("{each:.2} bytes a transfer, everything included");
    assert!(each <= 78.0, "{each}");
}

#[test]
fn a_ledger_s_file_notices_one_bit_anywhere() {
    let (bytes, _) = reorganised();
    let frames = dissect(&bytes).frames;
    for place in (frames[0].0..bytes.len()).step_by(3) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1 << (place % 8);
        let expected = frames.iter().rev().find(|(at, ..)| *at <= place).expect("a frame").0;
        match open(&damaged) {
            Err(ChainFileError::Damaged { offset, .. }) => assert_eq!(offset, expected as u64),
            Err(other) => panic!("byte {place}: {other}"),
            Ok(_) => panic!("byte {place} is not noticed"),
        }
    }
}

#[test]
fn half_a_reorganisation_is_mended_by_the_next_run() {
    let (bytes, dump) = reorganised();
    let frames = dissect(&bytes).frames;
    let [a, b] = dissect(&bytes).slots;
    let later = if a.sequence > b.sequence { SLOTS[0] } else { SLOTS[1] };
    let back = frames.iter().position(|(_, kind, _)| *kind == 3).expect("a take back");
    let best = open(&bytes).expect("a file");
    for (end, ..) in &frames[back + 1..] {
        let mut cut = bytes[..*end].to_vec();
        cut[later..later + PAGE].fill(0);
        let file = Shared::of(cut);
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("dump");
        // A dump that brings nothing new: the file goes back to what it has most work of.
        std::fs::write(&path, up_to_the_side_branch(&dump)).expect("a file");
        append_ledger(&path, &file).0.expect("a judgement");
        let loaded = open(&file.bytes()).expect("a file");
        assert_eq!(loaded.store.tip_work(&loaded), loaded.tree.work(loaded.tree.best()));
        // And then on to the best branch.
        std::fs::write(&path, &dump).expect("a file");
        append_ledger(&path, &file).0.expect("a judgement");
        let loaded = open(&file.bytes()).expect("a file");
        let tip = loaded.tree.block(loaded.store.tip()).id();
        assert_eq!(tip, best.tree.block(best.store.tip()).id());
    }
}

/// The work of a file's tip.
trait TipWork {
    fn tip_work(&self, loaded: &LoadedLedger) -> blockmill::primitives::Work;
}

impl TipWork for blockmill::ledger::LedgerStore {
    fn tip_work(&self, loaded: &LoadedLedger) -> blockmill::primitives::Work {
        loaded.tree.work(self.tip())
    }
}

/// Appends a block that nobody has judged.
fn append_unjudged(file: &Shared, transactions: impl Fn(u64) -> Vec<Transaction<'static>>) {
    let LoadedLedger { mut store, mut tree, .. } =
        LoadedLedger::open(file.boxed(), |_, _| Ok(())).expect("a file");
    let params = store.params().clone();
    let tip = tree.block(store.tip());
    let (parent, time, height) = (tip.id(), tip.time(), tip.height());
    let bits = HeaderRules::new(&params, u64::MAX).next_bits(height, time);
    let transactions = transactions(u64::from(height) + 1);
    let mut bytes = Vec::new();
    Block::encode(&params.genesis(), &transactions, &mut bytes);
    let root = Block::decode(&bytes).expect("a block").merkle_root();
    let header = (0..)
        .map(|nonce| Header::from_fields(1, parent, root, time + 60, bits, nonce))
        .find(|header| header.is_solved_by(&header.id()))
        .expect("an easy target");
    bytes[..Header::LEN].copy_from_slice(header.as_bytes());
    let block = Block::decode(&bytes).expect("a block");
    let number = tree.insert_known(&block.header, header.id()).expect("a sound header");
    store.append(number, &header.id(), &bytes, block.effects(), time).expect("memory");
    store.commit(tree.block(number)).expect("memory");
}

fn account_with_coins(bytes: &[u8]) -> (Account, u64) {
    let state = open(bytes).expect("a file").state;
    let (account, found) = state.accounts().max_by_key(|(_, found)| found.balance).expect("one");
    (*account, found.nonce)
}

fn transfer(from: Account, nonce: u64, amount: u64) -> Transaction<'static> {
    let to = Account::from_key([5; 32]);
    Transaction::Transfer { from, to, amount, fee: 1, nonce, memo: b"", signature: [1; 64] }
}

fn reward(height: u64) -> Transaction<'static> {
    Transaction::Reward { height, to: Account::from_key([6; 32]), amount: 5, extranonce: 0 }
}

#[test]
fn a_check_finds_what_loading_does_not_look_at() {
    let file = ledger_file(&[small_ledger()]);
    let (from, nonce) = account_with_coins(&file.bytes());
    append_unjudged(&file, |height| vec![reward(height), transfer(from, nonce, 3)]);
    let height = open(&file.bytes()).expect("signatures are not looked at").store;
    let height = height.file().commit_record().tip.height;
    let last = dissect(&file.bytes()).frames.last().expect("a frame").0 as u64;
    let cpu = Cpu::new(1).expect("a thread");
    let error = check_ledger(Path::new("memory"), file.boxed(), &cpu, 1).err().expect("a fault");
    assert_eq!(error.exit_code(), 3);
    assert_eq!(error.place().expect("a place").offset, last);
    assert!(error.to_string().contains(&format!("block {height}, transaction 1")), "{error}");
    assert!(error.to_string().contains("bad-tx-signature"), "{error}");
    // The program says the same, and --quick looks at the bytes alone.
    let folder = Folder::new();
    let path = folder.file("bad.chain", &file.bytes());
    let (report, code) = json(&["chain", "check"], &[&path]);
    assert_eq!((code, &report["verdict"]), (3, &"damaged".into()));
    assert_eq!(report["error"]["kind"], "damaged-chain-file");
    assert_eq!(report["error"]["offset"], last);
    let (report, code) = json(&["chain", "check", "--quick"], &[&path]);
    assert_eq!((code, &report["verdict"]), (0, &"valid".into()));
}

#[test]
fn loading_holds_shape_and_balances_against_the_rules() {
    for (amount, rule) in [(0, "bad-tx-amount"), (u64::MAX - 1, "bad-tx-balance")] {
        let file = ledger_file(&[small_ledger()]);
        let (from, nonce) = account_with_coins(&file.bytes());
        append_unjudged(&file, |height| vec![reward(height), transfer(from, nonce, amount)]);
        let error = open(&file.bytes()).err().expect("a fault");
        assert!(error.to_string().contains(rule), "{error}");
    }
}

#[test]
fn frames_of_the_other_family_are_damage() {
    let file = ledger_file(&[small_ledger()]).bytes();
    for (kind, payload) in [(2, &[1, 1, 1, 0, 0, 0][..]), (1, b"no block"), (3, &[200, 1])] {
        let error = open(&with_frame(&file, kind, payload)).err().expect("a fault");
        assert!(matches!(error, ChainFileError::Damaged { .. }), "{error}");
    }
    assert!(open(&with_frame(&file, 0x81, b"later")).is_ok());
    assert_ne!(FrameType::Unknown(9), FrameType::Block);
}

// The commands.

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    }
}

fn run(arguments: &[&str], paths: &[&Path]) -> Output {
    let program = env!("CARGO_BIN_EXE_blockmill");
    Command::new(program).args(arguments).args(paths).output().expect("the program runs")
}

fn json(arguments: &[&str], paths: &[&Path]) -> (Value, i32) {
    let output = run(&[arguments, &["--format", "json"]].concat(), paths);
    let code = output.status.code().expect("an exit code");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {text}")), code)
}

#[test]
fn an_export_validates_to_the_same_tip() {
    let folder = Folder::new();
    let (bytes, dump) = reorganised();
    let chain =
        from_genesis(&blockmill::bitcoin::Params::of(blockmill::bitcoin::Network::Regtest), 9);
    let branch = [&chain[..5], &extend(&chain[4], 8, 3)].concat();
    let headers = header_file(&[chain, branch.clone()]).bytes();
    for (name, bytes) in [("ledger.chain", bytes), ("headers.chain", headers)] {
        let file = folder.file(name, &bytes);
        let out = folder.0.path().join(format!("{name}.dump"));
        let output = run(&["chain", "export"], &[&file, &out]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let (shown, _) = json(&["chain", "show"], &[&file]);
        let (report, code) = json(&["validate", "--now", "2000000000"], &[&out]);
        assert_eq!((code, &report["verdict"]), (0, &"valid".into()));
        assert_eq!(report["tip"], shown["tip"]);
        assert_eq!(report["blocks"]["side"], 0);
        // Not over what is there, unless it is said so; and the same through a pipe.
        assert_eq!(run(&["chain", "export"], &[&file, &out]).status.code(), Some(2));
        assert!(run(&["chain", "export", "--force"], &[&file, &out]).status.success());
        let piped = run(&["chain", "export"], &[&file, Path::new("-")]);
        assert_eq!(piped.stdout, std::fs::read(&out).expect("a dump"));
        assert_eq!(std::fs::read(&file).expect("a file"), bytes, "nothing is written");
    }
    let exported = std::fs::read(folder.0.path().join("headers.chain.dump")).expect("a dump");
    assert_eq!(exported, common::chain::dump(&branch));
    let exported = std::fs::read(folder.0.path().join("ledger.chain.dump")).expect("a dump");
    let (head, blocks) = parts_of(&exported);
    assert_eq!((head, blocks.len()), (parts_of(&dump).0, 6));
}

#[test]
fn a_dump_goes_on_where_a_file_of_headers_ends() {
    let folder = Folder::new();
    let regtest = blockmill::bitcoin::Params::of(blockmill::bitcoin::Network::Regtest);
    let chain = from_genesis(&regtest, 12);
    let first = folder.file("first.hdr", &common::chain::dump(&chain[..8]));
    let later = folder.file("later.hdr", &common::chain::dump(&chain[8..]));
    let file = folder.0.path().join("headers.chain");
    let into = ["validate", "--now", "2000000000", "--to", file.to_str().expect("text")];
    assert_eq!(json(&into, &[&first]).1, 0);
    // The file knows the network, which the later dump does not show.
    let (report, code) = json(&into, &[&later]);
    assert_eq!((code, &report["network"]), (0, &"regtest".into()), "{report}");
    assert_eq!(report["chain_file"]["height"], 12);
    let (report, _) = json(&["chain", "check"], &[&file]);
    assert_eq!((&report["verdict"], &report["tip"]["height"]), (&"valid".into(), &12.into()));
    // Another network, or a ledger, is refused, and the file stays as it is.
    let before = std::fs::read(&file).expect("a file");
    let main = from_genesis(&blockmill::bitcoin::Params::of(blockmill::bitcoin::Network::Main), 0);
    let main = folder.file("main.hdr", &common::chain::dump(&main));
    let ledger = folder.file("ledger.bmdump", &small_ledger());
    for other in [main, ledger] {
        assert_eq!(run(&into, &[&other]).status.code(), Some(2), "{}", other.display());
        assert_eq!(std::fs::read(&file).expect("a file"), before);
    }
}

#[test]
fn a_check_says_what_is_wrong_and_where() {
    let folder = Folder::new();
    let (bytes, _) = reorganised();
    let sound = folder.file("sound.chain", &bytes);
    for arguments in [&["chain", "check"][..], &["chain", "check", "--quick"]] {
        let (report, code) = json(arguments, &[&sound]);
        assert_eq!((code, &report["verdict"]), (0, &"valid".into()), "{report}");
        assert_eq!((&report["schema"], &report["error"]), (&1.into(), &Value::Null));
        assert_eq!((&report["family"], &report["level"]), (&"ledger".into(), &"full".into()));
        assert_eq!(report["tip"]["height"], 6);
    }
    let mut flipped = bytes.clone();
    *flipped.last_mut().expect("a byte") ^= 1;
    let frame = dissect(&bytes).frames.last().expect("a frame").0;
    let path = folder.file("flipped.chain", &flipped);
    for arguments in [&["chain", "check"][..], &["chain", "check", "--quick"]] {
        let (report, code) = json(arguments, &[&path]);
        assert_eq!((code, &report["verdict"]), (3, &"damaged".into()));
        assert_eq!(report["error"]["offset"], frame);
        assert_eq!(report["error"]["file"], path.display().to_string());
    }
    let mut slot = bytes.clone();
    slot[SLOTS[1]] ^= 1;
    let (report, code) = json(&["chain", "check"], &[&folder.file("slot.chain", &slot)]);
    assert_eq!(
        (code, &report["verdict"], &report["opening"]["bad_slot"]),
        (3, &"damaged".into(), &"B".into())
    );
    assert!(report["error"]["message"].as_str().expect("a message").contains("lost"), "{report}");
    // A torn tail lost nothing.
    let tail = folder.file("tail.chain", &[&bytes[..], b"torn"].concat());
    let (report, code) = json(&["chain", "check"], &[&tail]);
    assert_eq!((code, &report["opening"]["dropped"]), (0, &4.into()));
    let (report, code) = json(&["chain", "check"], &[&folder.file("none.chain", b"none")]);
    assert_eq!((code, &report["verdict"]), (3, &Value::Null));
    let (report, code) = json(&["chain", "check"], &[Path::new("/nowhere")]);
    assert_eq!((code, &report["error"]["kind"]), (3, &"unreadable".into()));
}

#[test]
fn blocks_transactions_and_accounts_are_shown() {
    let folder = Folder::new();
    let (bytes, _) = reorganised();
    let file = folder.file("ledger.chain", &bytes);
    let (shown, code) = json(&["chain", "show"], &[&file]);
    assert_eq!((code, &shown["tip"]["height"], &shown["blocks"]), (0, &6.into(), &7.into()));
    assert_eq!((&shown["reorganisations"], &shown["bytes"]), (&1.into(), &bytes.len().into()));
    let (genesis, _) = json(&["chain", "show", "--block", "0"], &[&file]);
    assert_eq!(genesis["block"]["hash"], shown["chain_id"]);
    let mut previous = genesis["block"]["hash"].clone();
    let mut sums = std::collections::HashMap::<String, i128>::new();
    let state = open(&bytes).expect("a file");
    for (account, amount) in state.store.params().allocations() {
        sums.insert(account.to_string(), i128::from(amount));
    }
    for height in 1..=6 {
        let (by_height, _) = json(&["chain", "show", "--block", &height.to_string()], &[&file]);
        let block = &by_height["block"];
        assert_eq!((&block["previous"], &block["best_branch"]), (&previous, &true.into()));
        previous = block["hash"].clone();
        let id = previous.as_str().expect("an id");
        assert_eq!(&json(&["chain", "show", "--block", id], &[&file]).0["block"], block);
        for transaction in block["transactions"].as_array().expect("transactions") {
            let id = transaction["id"].as_str().expect("an id");
            let (alone, _) = json(&["chain", "show", "--transaction", id], &[&file]);
            let mut alone = alone["transaction"].clone();
            let place = alone.as_object_mut().expect("an object").remove("block").expect("a block");
            assert_eq!((&alone, &place["height"]), (transaction, &height.into()));
        }
    }
    for (account, start) in sums {
        let (shown, code) = json(&["chain", "show", "--account", &account], &[&file]);
        assert_eq!(code, 0);
        let number =
            |value: &Value| value.as_str().map_or(0, |text| text.parse().expect("a number"));
        let mut balance = start;
        let mut sent = 0;
        for entry in shown["account"]["history"].as_array().expect("a history") {
            let (amount, fee): (i128, i128) = (number(&entry["amount"]), number(&entry["fee"]));
            match entry["kind"].as_str().expect("a kind") {
                "reward" => balance += amount,
                "received" => balance += amount,
                _ => {
                    sent += 1;
                    balance -= amount + fee;
                    // A transfer to itself stands there once.
                    balance += if entry["counterparty"] == *account { amount } else { 0 };
                }
            }
        }
        assert_eq!(number(&shown["account"]["balance"]), balance, "{account}");
        assert_eq!(shown["account"]["next_nonce"], sent);
    }
    // People read the same.
    let text = run(&["chain", "show", "--block", "6"], &[&file]).stdout;
    assert!(String::from_utf8_lossy(&text).contains(previous.as_str().expect("an id")));
}

#[test]
fn what_is_not_there_is_exit_1() {
    let folder = Folder::new();
    let (bytes, _) = reorganised();
    let file = folder.file("ledger.chain", &bytes);
    let id = "11".repeat(32);
    let nobody = Account::from_key([9; 32]).to_string();
    for (option, value) in
        [("--block", "7"), ("--block", &id), ("--transaction", &id), ("--account", &nobody)]
    {
        let (report, code) = json(&["chain", "show", option, value], &[&file]);
        assert_eq!((code, &report["error"]["kind"]), (1, &"not-found".into()), "{option} {value}");
        let output = run(&["chain", "show", option, value], &[&file]);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "));
    }
    let output = run(&["chain", "show", "--block", "seven"], &[&file]);
    assert_eq!(output.status.code(), Some(2));
    let headers = header_file(&[from_genesis(
        &blockmill::bitcoin::Params::of(blockmill::bitcoin::Network::Regtest),
        3,
    )]);
    let file = folder.file("headers.chain", &headers.bytes());
    let output = run(&["chain", "show", "--account", &nobody], &[&file]);
    assert_eq!(output.status.code(), Some(2));
    let (shown, code) = json(&["chain", "show", "--block", "3"], &[&file]);
    assert_eq!((code, &shown["block"]["hash"]), (0, &shown["tip"]["hash"]));
    let (_, code) = json(&["chain", "show", "--block", "4"], &[&file]);
    assert_eq!(code, 1);
}

#[test]
fn a_block_that_was_taken_back_is_shown_as_such() {
    let folder = Folder::new();
    let (bytes, dump) = reorganised();
    let file = folder.file("ledger.chain", &bytes);
    let (_, side) = parts_of(&up_to_the_side_branch(&dump));
    let last = side.last().expect("a block").first_chunk().expect("a header");
    let id = Header::from_bytes(*last).id().to_string();
    let (shown, code) = json(&["chain", "show", "--block", &id], &[&file]);
    assert_eq!((code, &shown["block"]["best_branch"]), (0, &false.into()));
}
