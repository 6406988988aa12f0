//! Rule E1 against public vectors: alone, at every place of a batch, and in random company.

mod common;

use std::sync::OnceLock;

use common::read_data;
use common::signatures::{Company, Signed};
use serde_json::Value;

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("a string")).expect("hex digits")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn json(file: &str) -> Option<Value> {
    let text = read_data(&format!("ed25519/{file}"))?;
    Some(serde_json::from_slice(&text).expect("JSON"))
}

/// The 12 cases of "Taming the many EdDSAs".
fn speccheck() -> Option<Vec<Signed>> {
    let cases = json("speccheck_cases.json")?;
    let signed = |case: &Value| Signed {
        key: bytes(&case["pub_key"]),
        message: bytes(&case["message"]),
        signature: bytes(&case["signature"]),
    };
    Some(list(&cases).iter().map(signed).collect())
}

/// The 14 x 14 small-order encodings of ZIP 215.
fn zip215() -> Option<Vec<Signed>> {
    let cases = json("zip215_small_order_196.json")?;
    let signed = |case: &Value| Signed {
        key: bytes(&case["vk"]),
        message: case["msg_ascii"].as_str().expect("text").as_bytes().to_vec(),
        signature: bytes(&case["sig"]),
    };
    Some(list(&cases).iter().map(signed).collect())
}

/// Wycheproof's tests, each with its published result.
fn wycheproof() -> Option<Vec<(Signed, bool)>> {
    let file = json("wycheproof_ed25519_test.json")?;
    let tests = list(&file["testGroups"]).iter().flat_map(|group| {
        let key = bytes(&group["publicKey"]["pk"]);
        list(&group["tests"]).iter().map(move |test| {
            let signed = Signed {
                key: key.clone(),
                message: bytes(&test["msg"]),
                signature: bytes(&test["sig"]),
            };
            (signed, test["result"] == "valid")
        })
    });
    Some(tests.collect())
}

/// The lines of `sk||pk : pk : message : signature||message`.
fn dalek() -> Option<Vec<Signed>> {
    let text = String::from_utf8(read_data("ed25519/dalek_TESTVECTORS.txt")?).expect("text");
    let lines = text.lines().map(|line| {
        let parts: Vec<_> = line.split(':').map(|part| hex::decode(part).expect("hex")).collect();
        let signature = parts[3][..64].to_vec();
        Signed { key: parts[1].clone(), message: parts[2].clone(), signature }
    });
    Some(lines.collect())
}

/// The company of the random batches: every vector of every file.
fn company() -> Option<&'static Company> {
    static COMPANY: OnceLock<Option<Company>> = OnceLock::new();
    let read = || {
        let wycheproof = wycheproof()?.into_iter().map(|(signed, _)| signed).collect();
        Some(Company::with(&[speccheck()?, zip215()?, wycheproof, dalek()?].concat()))
    };
    COMPANY.get_or_init(read).as_ref()
}

/// Whether each is good, the same in all company.
fn verdicts<'a>(signed: impl Iterator<Item = &'a Signed>, company: &Company) -> Vec<bool> {
    signed.map(|one| company.verdict_on(one).is_ok()).collect()
}

#[test]
fn speccheck_cases_2_to_5() {
    let (Some(cases), Some(company)) = (speccheck(), company()) else { return };
    assert_eq!(cases.len(), 12);
    let verdicts = verdicts(cases.iter(), company);
    let accepted: Vec<_> = (0..12).filter(|&case| verdicts[case]).collect();
    assert_eq!(accepted, [2, 3, 4, 5]);
}

#[test]
fn none_of_zip215s_small_order_vectors() {
    let (Some(cases), Some(company)) = (zip215(), company()) else { return };
    assert_eq!(cases.len(), 196);
    assert_eq!(verdicts(cases.iter(), company), [false; 196]);
}

#[test]
fn wycheproof_to_the_verdict() {
    let (Some(tests), Some(company)) = (wycheproof(), company()) else { return };
    let published: Vec<_> = tests.iter().map(|(_, valid)| *valid).collect();
    assert_eq!((tests.len(), published.iter().filter(|valid| **valid).count()), (151, 88));
    assert_eq!(verdicts(tests.iter().map(|(signed, _)| signed), company), published);
}

#[test]
fn all_of_daleks_vectors() {
    let (Some(cases), Some(company)) = (dalek(), company()) else { return };
    assert_eq!(verdicts(cases.iter(), company), [true; 128]);
}
