//! Pending transactions: signed by `ledger send`, kept in a file, read by whoever mines.
#![cfg(unix)]

mod common;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use blockmill::Error;
use blockmill::keys::SecretKey;
use blockmill::ledger::pending::{self, LINE_LEN_MAX, NotPending, Pending, Queue};
use blockmill::ledger::{Account, Params, SIGNATURE_LEN, Transaction};
use blockmill::primitives::Hash256;
use common::program::{Ran, blockmill, run};
use serde_json::{Value, json};

/// What each sender was allocated.
const BALANCE: u64 = 1_000_000;

fn key(number: u8) -> SecretKey {
    SecretKey::from_bytes(&[number; 32])
}

fn account(number: u8) -> String {
    key(number).account().to_string()
}

/// A folder with the keys `1` to `4`, the parameters `p.toml` that allocate something to the first three,
/// and `other.toml` of another ledger.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        for number in 1..=4 {
            let file = folder.path(&number.to_string());
            key(number).create_file(&file, None).expect("a key file");
        }
        for (name, salt) in [("p.toml", "01"), ("other.toml", "02")] {
            let mut text = format!(
                "format = 1\nname = \"example\"\ntime = 1767225600\nsalt = \"{}\"\n\
                 target_spacing_s = 600\nhalf_life_s = 172800\npow_limit = \"207fffff\"\n\
                 subsidy = 50\nhalving_blocks = 210000\nblock_bytes_max = 4000000\n",
                salt.repeat(32)
            );
            for number in 1..=3 {
                let row = format!("account = \"{}\"\namount = {BALANCE}\n", account(number));
                text += &format!("[[allocation]]\n{row}");
            }
            fs::write(folder.path(name), text).expect("parameters");
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn chain_id(&self) -> Hash256 {
        let text = fs::read_to_string(self.path("p.toml")).expect("parameters");
        Params::from_toml(&text).expect("sound parameters").chain_id()
    }

    /// The command for the key of that number, to the file `w`.
    fn command(&self, key: u8, arguments: &[&str]) -> Command {
        let mut command = blockmill(self.0.path());
        command.args(["ledger", "send", "--pending", "w", "--params", "p.toml", "--key"]);
        command.arg(key.to_string()).args(arguments);
        command
    }

    fn send(&self, key: u8, arguments: &[&str]) -> Ran {
        run(&mut self.command(key, arguments), b"")
    }

    /// A transfer of `amount` to account 4.
    fn pay(&self, key: u8, amount: &str, arguments: &[&str]) -> Ran {
        self.send(key, &[&["--to", &account(4), "--amount", amount], arguments].concat())
    }

    /// That it is refused, with these words, and that nothing is written.
    fn refused(&self, ran: &Ran, code: i32, why: &str, before: &[u8]) {
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{ran:?}");
        assert!(ran.stderr.contains(why), "{why}: {ran:?}");
        assert_eq!(fs::read(self.path("w")).unwrap_or_default(), before, "{why}");
    }

    fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("w")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn nonces(&self, key: u8) -> Vec<u64> {
        let of_key = |line: &Value| line["from"] == account(key);
        let lines = self.lines().into_iter().filter(of_key);
        lines.map(|line| line["nonce"].as_u64().expect("a nonce")).collect()
    }

    fn read(&self) -> Result<Vec<Pending>, Error> {
        pending::read(&self.path("w"), &self.chain_id())
    }

    /// Writes the file, and gives what reading it says: the error, and the exit code for it.
    fn error_of(&self, contents: impl AsRef<[u8]>) -> (String, u8) {
        fs::write(self.path("w"), &contents).expect("a file");
        let error = self.read().expect_err("it is refused");
        let (code, text) = (error.exit_code(), error.to_string());
        // The program says the same of the file as it names it, and appends nothing.
        let text = text.replace(&format!("{}/", self.0.path().display()), "");
        self.refused(&self.pay(2, "1", &[]), code.into(), &text, contents.as_ref());
        (text, code)
    }
}

#[test]
fn a_transfer_is_signed_and_its_id_printed_alone() {
    let folder = Folder::new();
    let ran = folder.pay(1, "500", &["--fee", "3", "--memo", "für das Buch"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let waiting = folder.read().expect("a sound file");
    let transaction = waiting[0].transaction();
    let Transaction::Transfer { from, to, amount, fee, nonce, memo, .. } = transaction else {
        panic!("{transaction:?}");
    };
    assert_eq!((from.to_string(), to.to_string()), (account(1), account(4)));
    assert_eq!((amount, fee, nonce), (500, 3, 0));
    assert_eq!(memo, "für das Buch".as_bytes());
    assert_eq!(ran.stdout, format!("{}\n", transaction.id(&folder.chain_id())));
    let expected = json!({
        "chain_id": folder.chain_id().to_string(), "id": ran.stdout.trim(), "kind": "transfer",
        "from": account(1), "to": account(4), "amount": "500", "fee": "3", "nonce": 0,
        "raw": hex::encode(waiting[0].encoding()),
    });
    assert_eq!(folder.lines(), [expected]);
    // Signing is deterministic: the same transaction is the same line, wherever it is signed.
    let line = fs::read(folder.path("w")).expect("the file");
    fs::remove_file(folder.path("w")).expect("the file");
    assert_eq!(folder.pay(1, "500", &["--fee", "3", "--memo", "für das Buch"]).stdout, ran.stdout);
    assert_eq!(fs::read(folder.path("w")).expect("the file"), line);
}

#[test]
fn a_record_is_signed_from_an_argument_a_file_or_a_pipe() {
    let folder = Folder::new();
    fs::write(folder.path("deed"), [0, 255, 10]).expect("a file");
    assert_eq!(folder.send(1, &["--record", "review", "--payload", "{}"]).code, 0);
    assert_eq!(folder.send(1, &["--record", "notary", "--payload-file", "deed"]).code, 0);
    let mut piped = folder.command(1, &["--record", "notary", "--payload-file", "-", "--fee", "2"]);
    assert_eq!(run(&mut piped, b"piped").code, 0);
    assert_eq!(folder.send(1, &["--record", "empty", "--payload", ""]).code, 0);
    let waiting = folder.read().expect("a sound file");
    let records: Vec<_> = waiting
        .iter()
        .map(|pending| match pending.transaction() {
            Transaction::Record { fee, nonce, tag, payload, .. } => (fee, nonce, tag, payload),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected: [(u64, u64, &[u8], &[u8]); 4] = [
        (0, 0, b"review", b"{}"),
        (0, 1, b"notary", &[0, 255, 10]),
        (2, 2, b"notary", b"piped"),
        (0, 3, b"empty", b""),
    ];
    assert_eq!(records, expected);
    assert_eq!(folder.lines()[0]["kind"], "record");
    assert_eq!(folder.lines()[0].get("to"), None);
}

#[test]
fn nonces_follow_what_waits_up_to_the_first_gap() {
    let folder = Folder::new();
    for key in [1, 1, 2, 1, 2] {
        assert_eq!(folder.pay(key, "1", &[]).code, 0);
    }
    assert_eq!((folder.nonces(1), folder.nonces(2)), (vec![0, 1, 2], vec![0, 1]));
    // A nonce of one's own leaves a gap, which is filled before what is behind it counts.
    assert_eq!(folder.pay(1, "1", &["--nonce", "5"]).code, 0);
    for nonce in [3, 4, 6] {
        assert_eq!(folder.pay(1, "1", &[]).code, 0);
        assert_eq!(folder.nonces(1).last(), Some(&nonce));
    }
    // Another with a nonce that waits already may replace it, and is warned about; the same is no other.
    let replaced = folder.pay(1, "2", &["--nonce", "5"]);
    assert_eq!(replaced.code, 0);
    assert!(replaced.stderr.contains("warning: another with nonce 5 waits"), "{replaced:?}");
    let before = fs::read(folder.path("w")).expect("the file");
    folder.refused(&folder.pay(1, "1", &["--nonce", "5"]), 2, "already waits in w", &before);
    assert_eq!(folder.pay(1, "1", &["--nonce", &u64::MAX.to_string()]).code, 0);
    assert_eq!(folder.pay(1, "1", &[]).code, 0);
    assert_eq!(folder.nonces(1).last(), Some(&7));
}

#[test]
fn senders_side_by_side_never_take_the_same_nonce() {
    let folder = Folder::new();
    let children: Vec<_> = (0..40)
        .map(|number| {
            let key = 1 + number % 2;
            let to = account(4);
            let mut command = folder.command(key, &["--to", &to, "--amount", "1"]);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs")
        })
        .collect();
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
    for key in [1, 2] {
        assert_eq!(folder.nonces(key), (0..20).collect::<Vec<_>>());
    }
    assert_eq!(folder.read().expect("a sound file").len(), 40);
}

#[test]
fn whoever_holds_the_file_is_waited_for() {
    let folder = Folder::new();
    let queue = Queue::open(&folder.path("w"), &folder.chain_id()).expect("a new file");
    let to = account(4);
    let mut command = folder.command(1, &["--to", &to, "--amount", "1"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| folder.read().expect("a sound file").len());
        std::thread::sleep(Duration::from_millis(500));
        assert!(child.try_wait().expect("a child").is_none(), "the sender did not wait");
        assert!(!reader.is_finished(), "the reader did not wait");
        drop(queue);
        assert!(reader.join().expect("a count") <= 1);
    });
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn what_is_known_to_fail_is_refused() {
    let folder = Folder::new();
    let most = BALANCE.to_string();
    let refused = |ran: &Ran, why: &str| folder.refused(ran, 2, why, b"");
    refused(&folder.pay(1, "0", &[]), "bad-tx-amount");
    let all = u64::MAX.to_string();
    refused(&folder.pay(1, &all, &["--fee", "1"]), "bad-tx-amount");
    refused(&folder.pay(1, &all, &["--fee", &all, "--nonce", "0"]), "bad-tx-amount");
    refused(
        &folder.pay(1, "1", &["--memo", &"x".repeat(257)]),
        "bad-tx-payload: a memo of 0 to 256",
    );
    refused(&folder.pay(1, "1", &["--memo-hex", &"00".repeat(257)]), "bad-tx-payload");
    refused(&folder.pay(1, "1", &["--memo-hex", "0"]), "--memo-hex");
    refused(
        &folder.send(1, &["--record", "", "--payload", "x"]),
        "bad-tx-payload: a tag of 1 to 32",
    );
    let tag = "t".repeat(33);
    refused(&folder.send(1, &["--record", &tag, "--payload", "x"]), "bad-tx-payload");
    let payload = "p".repeat(4097);
    refused(&folder.send(1, &["--record", "t", "--payload", &payload]), "a payload of 0 to 4096");
    fs::write(folder.path("big"), &payload).expect("a file");
    refused(&folder.send(1, &["--record", "t", "--payload-file", "big"]), "longer than 4096 bytes");
    refused(&folder.send(1, &["--record", "t", "--payload-file", "/dev/zero"]), "longer than 4096");
    refused(&folder.send(1, &["--record", "t", "--payload-file", "not-there"]), "not-there");
    refused(&folder.pay(1, &most, &["--fee", "1"]), "the account has 1000000");
    refused(&folder.pay(4, "1", &[]), "the account has 0");
    let typo = account(4).replace("bm1q", "bm1p");
    refused(&folder.send(1, &["--to", &typo, "--amount", "1"]), "is no account");
    // The limits themselves are allowed.
    for ran in [
        folder.pay(1, "1", &["--memo", &"x".repeat(256)]),
        folder.send(2, &["--record", &"t".repeat(32), "--payload", &"p".repeat(4096)]),
        folder.pay(3, &most, &[]),
    ] {
        assert_eq!(ran.code, 0, "{ran:?}");
    }
}

#[test]
fn what_waits_is_taken_from_the_balance() {
    let folder = Folder::new();
    assert_eq!(folder.pay(1, "600000", &["--fee", "1"]).code, 0);
    // What one sends to oneself comes back.
    assert_eq!(folder.send(1, &["--to", &account(1), "--amount", "300000", "--fee", "9"]).code, 0);
    let before = fs::read(folder.path("w")).expect("the file");
    folder.refused(&folder.pay(1, "399990", &["--fee", "1"]), 2, "the account has 399990", &before);
    assert_eq!(folder.pay(1, "399989", &["--fee", "1"]).code, 0);
    let before = fs::read(folder.path("w")).expect("the file");
    folder.refused(&folder.pay(1, "1", &[]), 2, "the account has 0", &before);
    assert_eq!(folder.send(1, &["--record", "t", "--payload", "free of charge"]).code, 0);
    // What another sends may come first, and then it is enough.
    assert_eq!(folder.send(2, &["--to", &account(1), "--amount", "5"]).code, 0);
    let before = fs::read(folder.path("w")).expect("the file");
    folder.refused(&folder.pay(1, "6", &[]), 2, "the account has 0", &before);
    let ran = folder.pay(1, "5", &[]);
    assert!(ran.code == 0 && ran.stderr.contains("some of the 5 that wait for it"), "{ran:?}");
    // Whoever names a nonce knows of a chain that moved on.
    assert_eq!(folder.pay(1, "700000", &["--nonce", "9"]).code, 0);
}

#[test]
fn arguments_that_make_no_sense_exit_2() {
    let folder = Folder::new();
    let to = account(4);
    let transfer = ["--to", &to, "--amount", "1"];
    let record = ["--record", "t", "--payload", "x"];
    for arguments in [
        &[][..],
        &["--to", &to],
        &["--amount", "1"],
        &["--record", "t"],
        &["--payload", "x"],
        &[&transfer[..], &record].concat(),
        &[&transfer[..], &["--payload", "x"]].concat(),
        &[&transfer[..], &["--memo", "x", "--memo-hex", "00"]].concat(),
        &[&record[..], &["--memo", "x"]].concat(),
        &[&record[..], &["--payload-file", "p.toml"]].concat(),
        &[&record[..], &["--amount", "1"]].concat(),
        &["--to", &to, "--amount", "-1"],
        &["--to", &to, "--amount", "18446744073709551616"],
        &[&transfer[..], &["--params", "p.toml"]].concat(),
        &[&transfer[..], &["--chain", "c"]].concat(),
        &["--record", "t", "--payload-file", "-", "--passphrase-file", "-"],
    ] {
        let ran = folder.send(1, arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}: {ran:?}");
        assert!(!folder.path("w").exists(), "{arguments:?}");
    }
    let mut other = blockmill(folder.0.path());
    other.args(["ledger", "send", "--pending", "w", "--key", "1", "--params", "1"]).args(transfer);
    folder.refused(&run(&mut other, b""), 2, "error: 1: ", b"");
}

/// What is mined no longer waits, and counts as the chain has it.
#[cfg(feature = "mine")]
#[test]
fn a_chain_file_tells_balance_and_nonce() {
    let folder = Folder::new();
    for amount in ["100", "200"] {
        assert_eq!(folder.pay(1, amount, &["--fee", "5"]).code, 0);
    }
    let mut mine = blockmill(folder.0.path());
    mine.args(["mine", "--chain", "c", "--params", "p.toml", "--transactions", "w"]);
    let ran =
        run(mine.args(["--reward-to", &account(3), "--backend", "cpu", "--blocks", "1"]), b"");
    assert_eq!(ran.code, 0, "{ran:?}");
    let send = |key: u8, arguments: &[&str]| {
        let mut command = blockmill(folder.0.path());
        command.args(["ledger", "send", "--pending", "w", "--chain", "c", "--key"]);
        command.args([&key.to_string(), "--to", &account(2), "--amount"]);
        run(command.args(arguments), b"")
    };
    assert_eq!(send(4, &["300"]).code, 0);
    let before = fs::read(folder.path("w")).expect("the file");
    folder.refused(&send(4, &["1"]), 2, "the account has 0: 300, and 300", &before);
    folder.refused(&send(1, &["1", "--nonce", "1"]), 2, "--nonce 1 is used up", &before);
    folder.refused(&send(1, &["999691"]), 2, "the account has 999690", &before);
    assert_eq!(send(1, &["999690"]).code, 0);
    assert_eq!(folder.nonces(1), [0, 1, 2]);
}

#[test]
fn the_key_is_unlocked_as_everywhere() {
    let folder = Folder::new();
    let phrase = "correct horse battery staple";
    let locked = blockmill::keys::Passphrase::new(phrase.as_bytes().to_vec().into());
    let Ok(locked) = locked else { panic!("a passphrase") };
    fs::remove_file(folder.path("1")).expect("the key");
    key(1).create_file(&folder.path("1"), Some(&locked)).expect("a key file");
    let to = account(4);
    let transfer = ["--to", &to, "--amount", "1", "--passphrase-file", "-"];
    let ran = run(&mut folder.command(1, &transfer), b"wrong");
    folder.refused(&ran, 5, "the passphrase is wrong", b"");
    folder.refused(&folder.pay(1, "1", &[]), 2, "no terminal", b"");
    let ran = run(&mut folder.command(1, &transfer), phrase.as_bytes());
    assert_eq!(ran.code, 0, "{ran:?}");
    fs::set_permissions(folder.path("1"), fs::Permissions::from_mode(0o640)).expect("a mode");
    let ran = run(&mut folder.command(1, &transfer), phrase.as_bytes());
    assert_eq!(ran.code, 5);
    // Nothing of the key is in what is written and printed.
    let written = fs::read_to_string(folder.path("w")).expect("the file") + &ran.stderr;
    assert!(!written.contains(&hex::encode([1; 32])) && !written.contains(phrase));
}

#[test]
fn a_file_of_another_chain_is_refused() {
    let folder = Folder::new();
    let to = account(4);
    let mut other = blockmill(folder.0.path());
    other.args(["ledger", "send", "--pending", "w", "--params", "other.toml", "--key", "1"]);
    assert_eq!(run(other.args(["--to", &to, "--amount", "1"]), b"").code, 0);
    let before = fs::read(folder.path("w")).expect("the file");
    folder.refused(&folder.pay(1, "1", &[]), 2, "w, line 1: it is for the chain", &before);
    // A line that only claims to be for this one has no signature for it.
    let id = folder.lines()[0]["chain_id"].as_str().expect("an id").to_owned();
    let text = String::from_utf8(before).expect("text");
    let (error, code) = folder.error_of(text.replace(&id, &folder.chain_id().to_string()));
    assert!(error.contains("line 1") && error.contains("\"id\""), "{error}");
    assert_eq!(code, 3);
}

/// A transfer by key 1 that was never judged by the program.
fn signed(chain_id: &Hash256, nonce: u64, spoil: bool) -> String {
    let (from, to) = (key(1).account(), key(4).account());
    let with = |signature| Transaction::Transfer {
        from,
        to,
        amount: 7,
        fee: 1,
        nonce,
        memo: &[],
        signature,
    };
    let mut message = Vec::new();
    with([0; SIGNATURE_LEN]).encode_signed_bytes(chain_id, &mut message);
    let mut signature = key(1).sign(&message);
    signature[5] ^= u8::from(spoil);
    let transaction = with(signature);
    let mut raw = Vec::new();
    transaction.encode(&mut raw);
    let line = json!({
        "chain_id": chain_id.to_string(), "id": transaction.id(chain_id).to_string(),
        "kind": "transfer", "from": from.to_string(), "to": to.to_string(), "amount": "7",
        "fee": "1", "nonce": nonce, "raw": hex::encode(raw),
    });
    format!("{line}\n")
}

#[test]
fn a_line_that_says_something_else_than_raw_is_an_error() {
    let folder = Folder::new();
    let good = signed(&folder.chain_id(), 0, false);
    fs::write(folder.path("w"), &good).expect("a file");
    assert_eq!(folder.read().expect("a sound file").len(), 1);
    let line: Value = serde_json::from_str(&good).expect("JSON");
    let with = |key: &str, value: Value| {
        let mut line = line.clone();
        line[key] = value;
        // The second line, so that the number says something.
        folder.error_of(format!("{good}{line}\n"))
    };
    let zero = "0".repeat(64);
    for (key, value) in [
        ("id", json!(zero)),
        ("id", json!(line["id"].as_str().expect("an id").to_uppercase())),
        ("kind", json!("record")),
        ("kind", json!("Transfer")),
        ("from", json!(account(2))),
        ("to", json!(account(1))),
        ("to", Value::Null),
        ("amount", json!("8")),
        ("amount", json!("07")),
        ("amount", Value::Null),
        ("fee", json!("0")),
        ("nonce", json!(1)),
    ] {
        let (error, code) = with(key, value.clone());
        let expected = format!("line 2: \"{key}\" is not what \"raw\" says");
        assert!(error.contains(&expected), "{key} {value}: {error}");
        assert!(error.contains(&format!("w, offset {}", good.len())), "{error}");
        assert_eq!(code, 3);
    }
    for (key, value) in [
        ("fee", json!(1)),
        ("nonce", json!("0")),
        ("nonce", json!(-1)),
        ("nonce", json!(0.5)),
        ("extra", json!(1)),
        ("\u{1b}[2J", json!(1)),
        ("raw", json!("")),
        ("raw", json!("0")),
        ("raw", json!("zz")),
        ("raw", json!(format!("{}00", line["raw"].as_str().expect("hex")))),
        ("raw", Value::Null),
    ] {
        let (error, code) = with(key, value.clone());
        assert!(error.contains("line 2: "), "{key} {value}: {error}");
        assert!(!error.contains('\u{1b}') && !error.contains("line 1"), "{error}");
        assert_eq!(code, 3);
    }
    for key in ["chain_id", "id", "kind", "from", "to", "amount", "fee", "nonce", "raw"] {
        let mut line = line.clone();
        line.as_object_mut().expect("an object").remove(key);
        let (error, _) = folder.error_of(format!("{good}{line}\n"));
        assert!(error.contains("line 2: ") && error.contains(key), "{error}");
    }
    let twice = good.replacen('{', "{\"nonce\":0,", 1);
    assert!(folder.error_of(twice).0.contains("line 1: no pending transaction: duplicate field"));
}

#[test]
fn a_reward_or_a_bad_signature_never_waits() {
    let folder = Folder::new();
    let chain_id = folder.chain_id();
    let reward = Transaction::Reward { height: 1, to: key(1).account(), amount: 5, extranonce: 0 };
    assert_eq!(Pending::new(&reward, &chain_id), Err(NotPending::Reward));
    let mut raw = Vec::new();
    reward.encode(&mut raw);
    let good = signed(&chain_id, 0, false);
    let mut line: Value = serde_json::from_str(&good).expect("JSON");
    line["raw"] = json!(hex::encode(raw));
    assert!(folder.error_of(format!("{line}\n")).0.contains("line 1: a reward never waits"));
    let bad = signed(&chain_id, 0, true);
    let (error, code) = folder.error_of(format!("{good}{bad}"));
    assert!(error.contains("line 2: bad-tx-signature"), "{error}");
    assert_eq!(code, 3);
    // The rule is E1, and an account that is no point of the curve has no signature.
    let nobody = Account::from_key([2; 32]);
    let forged = Transaction::Record {
        from: nobody,
        fee: 0,
        nonce: 0,
        tag: b"t",
        payload: b"",
        signature: [0; SIGNATURE_LEN],
    };
    assert!(matches!(Pending::new(&forged, &chain_id), Err(NotPending::Signature(_))));
}

#[test]
fn among_many_lines_the_bad_one_is_named() {
    let folder = Folder::new();
    let chain_id = folder.chain_id();
    let mut text: String = (0..4200).map(|nonce| signed(&chain_id, nonce, false)).collect();
    fs::write(folder.path("w"), &text).expect("a file");
    let waiting = folder.read().expect("a sound file");
    let nonces: Vec<_> = waiting.iter().filter_map(|each| each.transaction().nonce()).collect();
    assert_eq!(nonces, (0..4200).collect::<Vec<_>>());
    let ids: BTreeSet<_> = waiting.iter().map(|each| *each.id()).collect();
    assert_eq!(ids.len(), 4200);
    text += &signed(&chain_id, 4200, true);
    text += &signed(&chain_id, 4201, true);
    assert!(folder.error_of(text).0.contains("line 4201: bad-tx-signature"));
}

#[test]
fn torn_and_other_files_are_errors_that_say_so() {
    let folder = Folder::new();
    let good = signed(&folder.chain_id(), 0, false);
    for len in [1, good.len() / 2, good.len() - 1] {
        let (error, code) = folder.error_of(format!("{good}{}", &good[..len]));
        assert!(error.contains("line 2: it has no end"), "{error}");
        assert_eq!(code, 3);
    }
    for (contents, why) in [
        (b"\n".to_vec(), "line 1: no pending transaction"),
        (format!("{good}\n{good}").into(), "line 2: no pending transaction"),
        (b"[]\n".to_vec(), "line 1: no pending transaction"),
        (b"{\"\xff\": 1}\n".to_vec(), "line 1: no pending transaction"),
        (vec![b'['; 10_000], "line 1: it has no end"),
        ([vec![b'['; 10_000], vec![b'\n']].concat(), "line 1: no pending transaction"),
        (vec![b' '; LINE_LEN_MAX], "line 1: longer than 16384 bytes"),
        (vec![b' '; 1 << 20], "line 1: longer than 16384 bytes"),
        (b"\x1f\x8b\x08\x00\n".to_vec(), "line 1: no pending transaction"),
    ] {
        let (error, code) = folder.error_of(contents);
        assert!(error.contains(why), "{error}");
        assert_eq!(code, 3);
    }
    // As long as a line may be, of blanks before its end.
    let filled = |len: usize| good.replace("}\n", &format!("{}}}\n", " ".repeat(len - good.len())));
    fs::write(folder.path("w"), filled(LINE_LEN_MAX)).expect("a file");
    assert_eq!(folder.read().expect("a sound file").len(), 1);
    assert!(folder.error_of(filled(LINE_LEN_MAX + 1)).0.contains("longer than 16384 bytes"));
    let file = File::create(folder.path("w")).expect("the file");
    file.set_len(1 << 34).expect("a hole");
    assert!(folder.read().expect_err("too long").to_string().contains("longer than 268435456"));
    drop(file);

    fs::remove_file(folder.path("w")).expect("the file");
    assert_eq!(folder.read().expect_err("not there").exit_code(), 3);
    let made = Command::new("mkfifo").arg(folder.path("w")).status();
    assert!(made.is_ok_and(|status| status.success()));
    assert!(folder.read().expect_err("a pipe").to_string().contains("kept in a file"));
    assert_eq!(folder.pay(1, "1", &[]).code, 3);
    fs::remove_file(folder.path("w")).expect("the pipe");
    fs::create_dir(folder.path("w")).expect("a folder");
    assert_eq!(folder.pay(1, "1", &[]).code, 3);
    let mut nowhere = blockmill(folder.0.path());
    nowhere.args(["ledger", "send", "--pending", "no/such/w", "--params", "p.toml", "--key", "1"]);
    let ran = run(nowhere.args(["--to", &account(4), "--amount", "1"]), b"");
    assert_eq!(ran.code, 5);
    assert!(ran.stderr.contains("cannot write no/such/w"), "{ran:?}");
}

#[test]
fn a_line_that_does_not_fit_on_the_disk_leaves_the_file_as_it_was() {
    let folder = Folder::new();
    assert_eq!(folder.pay(1, "1", &[]).code, 0);
    let before = fs::read(folder.path("w")).expect("the file");
    let payload = "p".repeat(4096);
    let mut shell = Command::new("sh");
    // A limit within the next line, whatever unit the shell counts in.
    let script = "trap '' XFSZ; ulimit -f 4; exec \"$@\"";
    shell.args(["-c", script, "sh", env!("CARGO_BIN_EXE_blockmill"), "ledger", "send"]);
    shell.args([
        "--pending",
        "w",
        "--params",
        "p.toml",
        "--key",
        "1",
        "--record",
        "t",
        "--payload",
    ]);
    let ran = run(shell.arg(&payload).current_dir(folder.0.path()), b"");
    folder.refused(&ran, 5, "cannot write w", &before);
    assert_eq!(folder.send(1, &["--record", "t", "--payload", &payload]).code, 0);
    assert_eq!(folder.nonces(1), [0, 1]);
}
