//! Secret keys: the files that keep them, who may open those, and that nothing else tells them.
#![cfg(unix)]

mod common;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use blockmill::keys::{KeyError, KeyFile, Passphrase, SecretKey};
use common::program::{Ran, blockmill, run};
use common::tool_is_there;
use pkcs8::der::Encode;
use pkcs8::der::asn1::OctetString;
use pkcs8::pkcs5::pbes2::{
    EncryptionScheme as Cipher, Kdf, Parameters, Pbkdf2Params, Pbkdf2Prf, Salt, ScryptParams,
};
use pkcs8::{EncryptedPrivateKeyInfoOwned, LineEnding, SecretDocument};
use zeroize::Zeroizing;

/// RFC 8410, section 10.3: version 1, and version 2 with attributes and the public key.
const RFC_8410: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
-----END PRIVATE KEY-----
";
const RFC_8410_V2: &str = "-----BEGIN PRIVATE KEY-----
MHICAQEwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC
oB8wHQYKKoZIhvcNAQkJFDEPDA1DdXJkbGUgQ2hhaXJzgSEAGb9ECWmEzf6FQbrB
Z9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PRIVATE KEY-----
";
const RFC_8410_PUBLIC: &str = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";

const PASSPHRASE: &str = "correct horse battery staple";

/// A folder of the test's own.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file that only its owner may open.
    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a file");
        set_mode(&path, 0o600);
        path
    }

    fn key(&self, arguments: &[&str]) -> Ran {
        self.key_with_stdin(arguments, "")
    }

    fn key_with_stdin(&self, arguments: &[&str], stdin: &str) -> Ran {
        run(blockmill(self.0.path()).arg("key").args(arguments), stdin.as_bytes())
    }

    fn openssl(&self, arguments: &[&str]) -> Ran {
        run(Command::new("openssl").args(arguments).current_dir(self.0.path()), b"")
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("a file").permissions().mode() & 0o7777
}

fn passphrase(text: &str) -> Passphrase {
    let Ok(passphrase) = Passphrase::new(Zeroizing::new(text.into())) else { panic!("{text}") };
    passphrase
}

/// What a file opens to: the public key, or why not.
fn opened(path: &Path, passphrase: Option<&Passphrase>) -> Result<String, KeyError> {
    let key = KeyFile::open(path)?.unlock(passphrase)?;
    Ok(hex::encode(key.account().key()))
}

fn opened_text(text: impl AsRef<[u8]>) -> Result<String, KeyError> {
    let folder = Folder::new();
    opened(&folder.file("k.pem", text), Some(&passphrase(PASSPHRASE)))
}

/// The public key that `key show` prints.
fn shown(ran: &Ran) -> &str {
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.stdout.lines().find_map(|line| line.strip_prefix("public key  ")).expect("a public key")
}

#[test]
fn the_key_of_rfc_8410_in_both_versions() {
    assert_eq!(opened_text(RFC_8410).expect("version 1"), RFC_8410_PUBLIC);
    assert_eq!(opened_text(RFC_8410_V2).expect("version 2"), RFC_8410_PUBLIC);
    // What is written is version 1, byte for byte.
    let secret = "d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842";
    let secret = hex::decode(secret).expect("hex").try_into().expect("32 bytes");
    let written = SecretKey::from_bytes(&secret).to_pem(None).expect("text");
    assert_eq!(*written, RFC_8410);
    // Version 2 with another's public key.
    let other = RFC_8410_V2.replace("Z9w7", "Z9w8");
    assert!(matches!(opened_text(other), Err(KeyError::NotAKey(_))));
}

/// RFC 8032, section 7.1: signatures are a function of key and message.
#[test]
fn signatures_are_those_of_rfc_8032() {
    let vectors = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ];
    for (secret, public, message, signature) in vectors {
        let bytes = |text| hex::decode(text).expect("hex");
        let key = SecretKey::from_bytes(&bytes(secret).try_into().expect("32 bytes"));
        assert_eq!(hex::encode(key.account().key()), public);
        assert_eq!(hex::encode(key.sign(&bytes(message))), signature);
        assert_eq!(hex::encode(key.sign(&bytes(message))), signature);
    }
}

#[test]
fn a_new_key_is_printed_as_its_account_alone_and_shown_again() {
    let folder = Folder::new();
    folder.file("pw", PASSPHRASE);
    for (name, options) in [
        ("a", &["--passphrase-file", "pw"][..]),
        ("b", &["--no-passphrase"]),
        ("c", &["--no-passphrase"]),
    ] {
        let new = folder.key(&[&["new", name], options].concat());
        assert_eq!(new.code, 0, "{new:?}");
        assert_eq!(new.stdout.lines().count(), 1);
        assert_eq!(mode(&folder.path(name)), 0o600);
        let encrypted =
            fs::read_to_string(folder.path(name)).expect("a file").contains("ENCRYPTED");
        assert_eq!(encrypted, options.len() == 2);
        assert_eq!(new.stderr.contains("NOT encrypted"), !encrypted);
        let show = folder.key(&["show", name, "--passphrase-file", "pw"]);
        let account: blockmill::ledger::Account = new.stdout.trim().parse().expect("an account");
        assert_eq!(shown(&show), hex::encode(account.key()));
        assert!(show.stdout.contains(new.stdout.trim()));
        assert_eq!(show.stderr.contains("not encrypted"), !encrypted);
    }
    assert_ne!(fs::read(folder.path("b")).expect("b"), fs::read(folder.path("c")).expect("c"));
}

#[test]
fn openssl_reads_what_is_written() {
    if !tool_is_there("openssl") {
        return;
    }
    let folder = Folder::new();
    folder.file("pw", PASSPHRASE);
    for (name, options) in [("a", &["--passphrase-file", "pw"][..]), ("b", &["--no-passphrase"])] {
        assert_eq!(folder.key(&[&["new", name], options].concat()).code, 0);
        let read = folder.openssl(&["pkey", "-in", name, "-passin", "file:pw", "-noout", "-text"]);
        assert_eq!(read.code, 0, "{read:?}");
        let text: String = read.stdout.split_whitespace().collect();
        let (_, public) = text.split_once("pub:").expect("a public key");
        let show = folder.key(&["show", name, "--passphrase-file", "pw"]);
        assert_eq!(public.replace(':', ""), shown(&show));
    }
    let wrong = folder.openssl(&["pkey", "-in", "a", "-passin", "pass:wrong", "-noout"]);
    assert_ne!(wrong.code, 0);
}

#[test]
fn what_openssl_writes_is_read_or_refused_with_a_reason() {
    if !tool_is_there("openssl") {
        return;
    }
    let folder = Folder::new();
    folder.file("pw", PASSPHRASE);
    let made = folder.openssl(&["genpkey", "-algorithm", "ed25519", "-out", "plain"]);
    assert_eq!(made.code, 0, "{made:?}");
    set_mode(&folder.path("plain"), 0o600);
    let public = shown(&folder.key(&["show", "plain"])).to_owned();
    let again = |options: &[&str]| {
        let topk8 = ["pkcs8", "-topk8", "-in", "plain", "-out", "locked", "-passout", "file:pw"];
        let made = folder.openssl(&[&topk8, options].concat());
        assert_eq!(made.code, 0, "{made:?}");
        set_mode(&folder.path("locked"), 0o600);
        folder.key(&["show", "locked", "--passphrase-file", "pw"])
    };
    for options in [
        &[][..],
        &["-scrypt"],
        &["-v2", "aes-128-cbc"],
        &["-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA512"],
        &["-v2", "aes-256-cbc", "-iter", "100000"],
    ] {
        assert_eq!(shown(&again(options)), public, "{options:?}");
    }
    for options in [&["-v2prf", "hmacWithSHA1"][..], &["-v2", "des3"]] {
        let refused = again(options);
        assert_eq!(refused.code, 5);
        assert!(refused.stderr.contains("openssl pkcs8 -topk8 -scrypt"), "{refused:?}");
    }
    for algorithm in ["x25519", "ed448"] {
        folder.openssl(&["genpkey", "-algorithm", algorithm, "-out", "other"]);
        set_mode(&folder.path("other"), 0o600);
        let refused = folder.key(&["show", "other"]);
        assert_eq!(refused.code, 5);
        assert!(refused.stderr.contains("not of Ed25519"), "{refused:?}");
        // Nor is it the passphrase's fault when it is locked.
        let lock = ["pkcs8", "-topk8", "-in", "other", "-out", "locked", "-passout", "file:pw"];
        assert_eq!(folder.openssl(&lock).code, 0);
        let refused = folder.key(&["show", "locked", "--passphrase-file", "pw"]);
        assert!(refused.stderr.contains("not of Ed25519"), "{refused:?}");
    }
    folder.openssl(&["pkey", "-in", "plain", "-pubout", "-out", "public"]);
    set_mode(&folder.path("public"), 0o600);
    assert!(
        folder.key(&["show", "public"]).stderr.contains("something else than a PKCS#8 private")
    );
}

#[test]
fn files_are_for_their_owner_whatever_the_umask_and_wider_ones_refused() {
    let folder = Folder::new();
    let mut shell = Command::new("sh");
    let command =
        format!("umask 0; exec {} key new k --no-passphrase", env!("CARGO_BIN_EXE_blockmill"));
    let ran = run(shell.args(["-c", &command]).current_dir(folder.0.path()), b"");
    assert_eq!(ran.code, 0, "{ran:?}");
    let key = folder.path("k");
    assert_eq!(mode(&key), 0o600);
    for wide in [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o644, 0o777] {
        set_mode(&key, wide);
        let refused = folder.key(&["show", "k"]);
        assert_eq!((refused.code, refused.stdout.as_str()), (5, ""));
        assert!(refused.stderr.contains(&format!("mode {wide:04o}")), "{refused:?}");
        assert!(refused.stderr.contains("chmod 600"), "{refused:?}");
    }
    set_mode(&key, 0o400);
    assert_eq!(folder.key(&["show", "k"]).code, 0);
}

#[test]
fn links_and_special_files_are_refused() {
    let folder = Folder::new();
    let key = folder.file("k", RFC_8410);
    symlink(&key, folder.path("link")).expect("a link");
    symlink(folder.path("nowhere"), folder.path("dangling")).expect("a link");
    let made = Command::new("mkfifo").arg(folder.path("pipe")).status();
    assert!(made.is_ok_and(|status| status.success()));
    set_mode(&folder.path("pipe"), 0o600);
    let refused = |name: &str, why: &str| {
        let ran = folder.key(&["show", name]);
        assert_eq!((ran.code, ran.stdout.as_str()), (5, ""), "{name}");
        assert!(ran.stderr.contains(why), "{ran:?}");
    };
    refused("link", "symbolic link");
    refused("dangling", "symbolic link");
    refused("pipe", "no regular file");
    refused(".", "no regular file");
    refused("not-there", "No such file");
    // Nor is a key written through a link.
    for name in ["link", "dangling", "pipe", "."] {
        let ran = folder.key(&["new", name, "--no-passphrase"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{name}");
    }
    assert!(!folder.path("nowhere").exists());
    let library = SecretKey::from_bytes(&[7; 32]).create_file(&folder.path("dangling"), None);
    assert!(matches!(library, Err(KeyError::Exists)));
    assert!(!folder.path("nowhere").exists());
    assert_eq!(fs::read_to_string(key).expect("the key"), RFC_8410);
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let folder = Folder::new();
    let file = folder.file("k", "something dear");
    // Before any passphrase is asked for, so that nobody types one in vain.
    for options in [&["--no-passphrase"][..], &["--passphrase-file", "not-there"]] {
        let ran = folder.key(&[&["new", "k"], options].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
        assert!(ran.stderr.contains("never overwritten"), "{ran:?}");
    }
    let library = SecretKey::from_bytes(&[7; 32]).create_file(&file, None);
    assert!(matches!(library, Err(KeyError::Exists)));
    assert_eq!(fs::read_to_string(file).expect("the file"), "something dear");
}

#[test]
fn a_file_that_cannot_be_completed_is_removed() {
    let folder = Folder::new();
    let mut shell = Command::new("sh");
    // As if the disk were full after no byte at all.
    let command = format!(
        "trap '' XFSZ; ulimit -f 0; exec {} key new k --no-passphrase",
        env!("CARGO_BIN_EXE_blockmill")
    );
    let ran = run(shell.args(["-c", &command]).current_dir(folder.0.path()), b"");
    assert_eq!((ran.code, ran.stdout.as_str()), (5, ""), "{ran:?}");
    assert!(!folder.path("k").exists());
    assert_eq!(folder.key(&["new", "no/such/folder", "--no-passphrase"]).code, 5);
}

/// PBES2 of little cost, as OpenSSL writes it: PBKDF2-HMAC-SHA256 and AES-256-CBC.
fn cheap() -> Kdf {
    pbkdf2(2)
}

fn pbkdf2(iteration_count: u32) -> Kdf {
    Kdf::Pbkdf2(Pbkdf2Params {
        salt: Salt::new([5; 16]).expect("a salt"),
        iteration_count,
        key_length: None,
        prf: Pbkdf2Prf::HmacWithSha256,
    })
}

fn scrypt(cost_parameter: u64, block_size: u16, parallelization: u16) -> Kdf {
    let salt = Salt::new([5; 16]).expect("a salt");
    Kdf::Scrypt(ScryptParams {
        salt,
        cost_parameter,
        block_size,
        parallelization,
        key_length: None,
    })
}

/// The key of RFC 8410 under [`PASSPHRASE`], or noise in its place where the cost allows no encryption.
fn locked(kdf: Kdf, encrypt: bool) -> String {
    let parameters = Parameters { kdf, encryption: Cipher::Aes256Cbc { iv: [9; 16] } };
    let (_, plain) = SecretDocument::from_pem(RFC_8410).expect("PEM");
    let sealed = match encrypt {
        true => parameters.encrypt(PASSPHRASE, plain.as_bytes()).expect("a sane cost"),
        false => vec![1; 64],
    };
    let info = EncryptedPrivateKeyInfoOwned {
        encryption_algorithm: parameters.into(),
        encrypted_data: OctetString::new(sealed).expect("bytes"),
    };
    let document = SecretDocument::try_from(info.to_der().expect("DER")).expect("a document");
    document.to_pem("ENCRYPTED PRIVATE KEY", LineEnding::LF).expect("PEM").to_string()
}

/// One wrong passphrase in 256 decrypts to something with the right padding, which is no key either.
#[test]
fn every_wrong_passphrase_is_said_to_be_wrong() {
    let folder = Folder::new();
    let path = folder.file("k", locked(cheap(), true));
    assert_eq!(opened(&path, Some(&passphrase(PASSPHRASE))).expect("the key"), RFC_8410_PUBLIC);
    for number in 0..2000 {
        let wrong = opened(&path, Some(&passphrase(&format!("wrong {number}"))));
        assert!(matches!(wrong, Err(KeyError::WrongPassphrase)), "{number}: {wrong:?}");
    }
    assert!(matches!(opened(&path, None), Err(KeyError::NoPassphrase)));
}

#[test]
fn a_cost_that_no_honest_file_has_is_not_paid() {
    assert_eq!(opened_text(locked(scrypt(16, 8, 2), true)).expect("a key"), RFC_8410_PUBLIC);
    assert_eq!(opened_text(locked(pbkdf2(1), true)).expect("a key"), RFC_8410_PUBLIC);
    for kdf in [
        scrypt(1 << 40, 8, 1),
        scrypt(1 << 62, u16::MAX, 1),
        scrypt(1 << 19, 8, 1),
        scrypt(1 << 14, 8, 17),
        scrypt(0, 8, 1),
        scrypt(3, 8, 1),
        scrypt(16, 0, 1),
        scrypt(16, 8, 0),
        pbkdf2(0),
        pbkdf2(10_000_001),
        pbkdf2(u32::MAX),
    ] {
        let refused = opened_text(locked(kdf.clone(), false));
        assert!(matches!(refused, Err(KeyError::Encryption)), "{kdf:?}: {refused:?}");
    }
}

#[test]
fn passphrases_come_from_a_first_line_and_are_never_empty() {
    let folder = Folder::new();
    folder.file("k", locked(cheap(), true));
    let show = |stdin: &str| folder.key_with_stdin(&["show", "k", "--passphrase-file", "-"], stdin);
    for end in ["", "\n", "\r\n", "\nmore\n"] {
        assert_eq!(shown(&show(&format!("{PASSPHRASE}{end}"))), RFC_8410_PUBLIC, "{end:?}");
    }
    for wrong in ["wrong\n", " ", "correct horse battery staple \n"] {
        let ran = show(wrong);
        assert_eq!((ran.code, ran.stdout.as_str()), (5, ""));
        assert!(ran.stderr.contains("the passphrase is wrong"), "{ran:?}");
    }
    let long = "x".repeat(1024);
    assert!(show(&long).stderr.contains("is wrong"));
    for (refused, why) in [
        ("", "empty"),
        ("\n", "empty"),
        ("\r\n", "empty"),
        (&*format!("{long}y"), "longer"),
        (&*format!("{long}yyy\n"), "longer"),
    ] {
        let ran = show(refused);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
        assert!(ran.stderr.contains(why), "{ran:?}");
        let new = folder.key_with_stdin(&["new", "n", "--passphrase-file", "-"], refused);
        assert_eq!(new.code, 2);
        assert!(!folder.path("n").exists());
    }
    let missing = folder.key(&["show", "k", "--passphrase-file", "not-there"]);
    assert_eq!(missing.code, 5);
    assert!(missing.stderr.contains("not-there"));
    let wide = folder.file("wide", PASSPHRASE);
    set_mode(&wide, 0o644);
    let warned = folder.key(&["show", "k", "--passphrase-file", "wide"]);
    assert!(warned.stderr.contains("warning: group or others may open wide"), "{warned:?}");
}

#[test]
fn without_a_terminal_the_options_are_named_and_nothing_is_taken_from_elsewhere() {
    let folder = Folder::new();
    folder.file("k", locked(cheap(), true));
    let new = folder.key_with_stdin(&["new", "n"], "typed\ntyped\n");
    assert_eq!(new.code, 2);
    assert!(new.stderr.contains("--passphrase-file") && new.stderr.contains("--no-passphrase"));
    assert!(!folder.path("n").exists());
    let show = folder.key_with_stdin(&["show", "k"], PASSPHRASE);
    assert_eq!(show.code, 2);
    assert!(show.stderr.contains("--passphrase-file") && !show.stderr.contains("--no-passphrase"));
    for option in ["--passphrase", "--password", "-p"] {
        assert_eq!(folder.key(&["show", "k", option, PASSPHRASE]).code, 2);
    }
    let both = folder.key(&["new", "n", "--no-passphrase", "--passphrase-file", "-"]);
    assert_eq!(both.code, 2);
}

#[test]
fn torn_and_damaged_files_are_refused_and_never_worse() {
    let folder = Folder::new();
    let phrase = passphrase(PASSPHRASE);
    for whole in [RFC_8410.to_owned(), RFC_8410_V2.to_owned(), locked(cheap(), true)] {
        let path = folder.file("k", &whole);
        // The last line feed may go.
        for len in 0..whole.len() - 1 {
            fs::write(&path, &whole[..len]).expect("a file");
            assert!(opened(&path, Some(&phrase)).is_err(), "{len} bytes");
        }
        for at in 0..whole.len() {
            for change in [0x01, 0x04, 0x20, 0x80] {
                let mut bytes = whole.clone().into_bytes();
                bytes[at] ^= change;
                fs::write(&path, &bytes).expect("a file");
                // Where the secret itself stands, another key may come out. Nothing may panic.
                let _ = opened(&path, Some(&phrase));
            }
        }
    }
    let twice = format!("{RFC_8410}{RFC_8410}");
    for garbage in [&b""[..], b"\0", b"\xff\xfe", &[b'-'; 4000], b"secret", twice.as_bytes()] {
        assert!(matches!(opened_text(garbage), Err(KeyError::NotAKey(_))));
    }
}

#[test]
fn a_huge_file_is_not_read() {
    let folder = Folder::new();
    let path = folder.file("k", RFC_8410);
    let file = File::options().write(true).open(&path).expect("the file");
    for len in [1 << 34, (16 << 10) + 1] {
        file.set_len(len).expect("a hole");
        let refused = folder.key(&["show", "k"]);
        assert_eq!(refused.code, 5);
        assert!(refused.stderr.contains("longer than 16384 bytes"), "{refused:?}");
    }
}

/// The secret in every form in which it might slip out.
fn forms_of_secret(pem: &str) -> Vec<String> {
    let body = pem.lines().nth(1).expect("base64").to_owned();
    let (_, document) = SecretDocument::from_pem(pem).expect("PEM");
    let bytes = document.as_bytes();
    let secret = &bytes[bytes.len() - 32..];
    let digits = hex::encode(secret);
    let numbers = secret.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    // The base64 of PKCS#8 from where the secret alone decides the digits.
    vec![digits.to_uppercase(), digits, numbers, body[22..].to_owned()]
}

#[test]
fn nothing_secret_is_printed() {
    let folder = Folder::new();
    folder.file("pw", format!("{PASSPHRASE}\n"));
    folder.file("wrong", "a wrong passphrase\n");
    folder.file("locked", locked(cheap(), true));
    let mut printed = String::new();
    let mut take = |ran: Ran| printed += &format!("{}{}", ran.stdout, ran.stderr);
    take(folder.key(&["new", "plain", "--no-passphrase"]));
    take(folder.key(&["new", "plain", "--no-passphrase"]));
    take(folder.key(&["new", "sealed", "--passphrase-file", "pw"]));
    take(folder.key(&["show", "plain"]));
    for file in ["locked", "sealed"] {
        for phrase in ["pw", "wrong"] {
            take(folder.key(&["show", file, "--passphrase-file", phrase]));
        }
        take(folder.key_with_stdin(&["show", file], PASSPHRASE));
    }
    let plain = fs::read_to_string(folder.path("plain")).expect("the key");
    // Damage, so that what complains has the secret before it.
    for at in 28..plain.len() {
        let mut bytes = plain.clone().into_bytes();
        bytes[at] ^= 1;
        folder.file("damaged", bytes);
        take(folder.key(&["show", "damaged"]));
    }
    assert!(printed.contains("public key") && printed.contains("passphrase is wrong"));
    let mut secrets = vec![PASSPHRASE.to_owned(), "a wrong passphrase".into()];
    secrets.extend(forms_of_secret(&plain));
    secrets.extend(forms_of_secret(RFC_8410));
    for secret in secrets {
        assert!(!printed.contains(&secret), "{secret}");
    }
}

/// Runs a shell command on a terminal, and types each answer when its prompt stands there. Gives all
/// that the terminal showed.
fn on_a_terminal(folder: &Folder, command: &str, dialogue: &[(&str, &str)]) -> String {
    let mut script = Command::new("script");
    let script = script.args(["-qec", command, "/dev/null"]).current_dir(folder.0.path());
    let pipes = script.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = pipes.spawn().expect("script runs");
    let mut keyboard = child.stdin.take().expect("a pipe");
    let mut screen = child.stdout.take().expect("a pipe");
    let mut shown = Vec::new();
    let mut until = |wanted: Option<&str>| {
        let from = shown.len();
        let mut byte = [0];
        while wanted.is_none_or(|text| !String::from_utf8_lossy(&shown[from..]).contains(text)) {
            match screen.read(&mut byte) {
                Ok(1) => shown.push(byte[0]),
                _ => break,
            }
        }
    };
    for (prompt, answer) in dialogue {
        until(Some(prompt));
        // The prompt stands there a moment before the echo ends; people take longer.
        std::thread::sleep(std::time::Duration::from_millis(300));
        keyboard.write_all(answer.as_bytes()).expect("typed");
    }
    // Whoever asks for more than that finds the keyboard gone.
    drop(keyboard);
    until(None);
    let _ = child.wait();
    String::from_utf8(shown).expect("text")
}

#[test]
fn a_terminal_is_asked_and_does_not_echo() {
    if !tool_is_there("script") {
        return;
    }
    let folder = Folder::new();
    let command = |rest: &str| {
        let program = env!("CARGO_BIN_EXE_blockmill");
        format!("{program} key {rest}; echo code=$?; stty -a | grep -ow -e '-*echo'")
    };
    let typed = format!("{PASSPHRASE}\r");
    let ask = "passphrase for k: ";
    let again = "the same again: ";
    let new = command("new k");
    let differ = on_a_terminal(&folder, &new, &[(ask, &typed), (again, "another\r")]);
    assert!(differ.contains("differ") && differ.contains("code=2"), "{differ}");
    let empty = on_a_terminal(&folder, &new, &[(ask, "\r")]);
    assert!(empty.contains("empty") && empty.contains("code=2"), "{empty}");
    let interrupted = on_a_terminal(&folder, &new, &[(ask, "corr\x03")]);
    assert!(interrupted.contains("code=130"), "{interrupted}");
    assert!(!folder.path("k").exists());
    let made = on_a_terminal(&folder, &new, &[(ask, &typed), (again, &typed)]);
    assert!(made.contains("code=0") && made.contains("bm1"), "{made}");
    let shown = on_a_terminal(&folder, &command("show k"), &[(ask, &typed)]);
    assert!(shown.contains("code=0") && shown.contains("public key"), "{shown}");
    let wrong = on_a_terminal(&folder, &command("show k"), &[(ask, "another\r")]);
    assert!(wrong.contains("code=5") && wrong.contains("passphrase is wrong"), "{wrong}");
    // A program that is only attached to a terminal is not to wait for it.
    let unwatched = on_a_terminal(&folder, &command("show k </dev/null 2>&1 | cat"), &[]);
    assert!(unwatched.contains("no terminal to ask"), "{unwatched}");
    for screen in [differ, empty, interrupted, made, shown, wrong] {
        assert!(!screen.contains("corr") && !screen.contains("another"), "{screen}");
        // And the terminal echoes again afterwards.
        assert!(screen.trim_end().ends_with("\necho"), "{screen:?}");
    }
    assert_eq!(folder.key_with_stdin(&["show", "k", "--passphrase-file", "-"], PASSPHRASE).code, 0);
}
