//! `blockmill chain show`.

use std::fmt::Write;
use std::path::Path;

use serde::Serialize;

use crate::bitcoin::{self, LoadedBlocks, LoadedHeaders};
use crate::chain::file::{AnyStorage, ChainFileError, FileLevel};
use crate::cli::args::{BlockName, ShowArgs};
use crate::cli::output::{self, ErrorReport, Format, grouped};
use crate::error::Error;
use crate::ledger::{Account, Block, Event, LoadedLedger, Params, StoredBlock, Transaction};
use crate::primitives::{Hash256, Header};

use super::summary::{Summary, branch_to};
use super::{end_on_interrupt, failed, open, tell_of_opening};

/// The document.
#[derive(Debug, Serialize)]
struct Report {
    schema: u32,
    #[serde(flatten)]
    summary: Summary,
    block: Option<BlockReport>,
    transaction: Option<TransactionReport>,
    account: Option<AccountReport>,
    error: Option<ErrorReport>,
}

#[derive(Debug, Serialize)]
struct BlockReport {
    height: u32,
    hash: String,
    /// Whether it was not taken back.
    best_branch: bool,
    previous: String,
    merkle_root: String,
    version: i32,
    time: u32,
    bits: String,
    nonce: u32,
    /// Of its canonical encoding.
    bytes: usize,
    transactions: Vec<TransactionReport>,
    /// Of Bitcoin's transactions, in the place of `transactions`.
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_ids: Option<Vec<String>>,
}

/// A transaction; what its kind does not have is null. Bytes are in hex.
#[derive(Debug, Default, Serialize)]
struct TransactionReport {
    id: String,
    /// The block, unless the transaction is shown within it.
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<PlaceReport>,
    /// Its index in the block.
    tx: u32,
    kind: &'static str,
    from: Option<String>,
    to: Option<String>,
    amount: Option<String>,
    fee: String,
    nonce: Option<u64>,
    extranonce: Option<u64>,
    memo: Option<String>,
    tag: Option<String>,
    payload: Option<String>,
    signature: Option<String>,
}

#[derive(Debug, Serialize)]
struct PlaceReport {
    height: u32,
    hash: String,
    best_branch: bool,
}

#[derive(Debug, Serialize)]
struct AccountReport {
    account: String,
    /// Its public key, in byte order.
    key: String,
    balance: String,
    next_nonce: u64,
    /// Its transactions on the best branch, the first one first.
    history: Vec<HistoryReport>,
}

#[derive(Debug, Serialize)]
struct HistoryReport {
    height: u32,
    tx: u32,
    /// `reward`, `sent`, `received`, or `record`.
    kind: &'static str,
    counterparty: Option<String>,
    amount: String,
    /// What the account paid; null where another one did.
    fee: Option<String>,
}

/// Runs the command.
pub(super) fn run(args: &ShowArgs) -> Result<u8, Error> {
    end_on_interrupt();
    let mut report = Report {
        schema: 1,
        summary: Summary::new(&args.file),
        block: None,
        transaction: None,
        account: None,
        error: None,
    };
    let code = match show(args, &mut report) {
        Ok(()) => {
            if let Some(error) = &report.error {
                output::error(&error.message);
            }
            report.error.as_ref().map_or(0, |error| error.exit_code)
        }
        // Without a report to go with, `main` writes the error.
        Err(error) if args.format == Format::Human || error.exit_code() == 2 => return Err(error),
        Err(error) => {
            output::error(&error.to_string());
            report.error = Some(ErrorReport::of(&error));
            error.exit_code()
        }
    };
    match args.format {
        Format::Json => output::print_json(&report)?,
        Format::Human if report.error.is_none() => output::print(&report.to_text())?,
        Format::Human => {}
    }
    Ok(code)
}

fn show(args: &ShowArgs, report: &mut Report) -> Result<(), Error> {
    let (storage, head) = open(&args.file)?;
    report.summary.read_head(&head);
    if head.is_ledger {
        let params = crate::ledger::params_of_head(&head).map_err(failed(&args.file))?;
        return show_ledger(args, storage, &params, report);
    }
    if args.transaction.is_some() || args.account.is_some() {
        let path = args.file.display();
        let message =
            format!("{path} is Bitcoin's: it has no accounts, and --block shows transactions");
        return Err(Error::usage(message));
    }
    if head.level == FileLevel::Blocks {
        return show_blocks(args, storage, report);
    }
    show_headers(args, storage, report)
}

fn show_blocks(args: &ShowArgs, storage: AnyStorage, report: &mut Report) -> Result<(), Error> {
    let loaded = LoadedBlocks::open(storage, |_| Ok(())).map_err(failed(&args.file))?;
    tell_of_opening(&args.file, loaded.store.file().opening());
    report.summary.read_blocks(&loaded);
    let Some(name) = args.block else { return Ok(()) };
    let LoadedBlocks { mut store, tree } = loaded;
    let branch = branch_to(&tree, store.tip());
    let number = match name {
        BlockName::Height(height) => branch.get(height as usize).copied(),
        BlockName::Id(id) => tree.number_of(&id),
    };
    let Some(number) = number else {
        report.error = Some(no_block(name, &args.file));
        return Ok(());
    };
    let place = tree.block(number);
    let bytes = store.body(number, place).map_err(failed(&args.file))?;
    let block = bitcoin::Block::parse(&bytes).map_err(|error| {
        let (offset, height, what) = (0, place.height(), error.to_string());
        failed(&args.file)(ChainFileError::Damaged { offset, height, what })
    })?;
    let ids = block.transactions().iter().map(|transaction| transaction.id().to_string());
    report.block = Some(BlockReport {
        best_branch: branch.get(place.height() as usize) == Some(&number),
        merkle_root: block.header.merkle_root().to_string(),
        bytes: bytes.len(),
        transaction_ids: Some(ids.collect()),
        ..BlockReport::of_header(place.height(), block.header)
    });
    Ok(())
}

fn show_headers(args: &ShowArgs, storage: AnyStorage, report: &mut Report) -> Result<(), Error> {
    let loaded = LoadedHeaders::open(storage).map_err(failed(&args.file))?;
    tell_of_opening(&args.file, loaded.store.file().opening());
    report.summary.read_headers(&loaded);
    let Some(name) = args.block else { return Ok(()) };
    let LoadedHeaders { mut store, tree } = loaded;
    let branch = branch_to(&tree, store.tip());
    let number = match name {
        BlockName::Height(height) => branch.get(height as usize).copied(),
        BlockName::Id(id) => tree.number_of(&id),
    };
    let Some(number) = number else {
        report.error = Some(no_block(name, &args.file));
        return Ok(());
    };
    let block = tree.block(number);
    let header = store.header(number, block).map_err(failed(&args.file))?;
    report.block = Some(BlockReport {
        best_branch: branch.get(block.height() as usize) == Some(&number),
        merkle_root: header.merkle_root().to_string(),
        ..BlockReport::of_header(block.height(), &header)
    });
    Ok(())
}

fn show_ledger(
    args: &ShowArgs,
    storage: AnyStorage,
    params: &Params,
    report: &mut Report,
) -> Result<(), Error> {
    let chain_id = params.chain_id();
    let mut found: Option<Found> = None;
    let mut history = Vec::new();
    let loaded = LoadedLedger::open(storage, |_, event| {
        let (block, is_taken_back) = match event {
            Event::Block(block) => (block, false),
            Event::TakenBack(block) => (block, true),
        };
        if let Some(account) = &args.account {
            if is_taken_back {
                while history
                    .pop_if(|entry: &mut HistoryReport| entry.height == block.height)
                    .is_some()
                {}
            } else {
                add_history(&block, account, &mut history);
            }
        } else if is_taken_back {
            if let Some(found) = found.as_mut().filter(|found| found.id == block.id) {
                found.best_branch = false;
            }
        } else if let Some(index) = is_wanted(args, &block, &chain_id) {
            found = Some(Found::new(&block, index));
        }
        Ok(())
    });
    let loaded = loaded.map_err(failed(&args.file))?;
    tell_of_opening(&args.file, loaded.store.file().opening());
    report.summary.read_ledger(&loaded);
    if let Some(account) = &args.account {
        let state = loaded.state.account(account);
        if state == crate::ledger::AccountState::default() && history.is_empty() {
            let message = format!("{account} was never heard of on the best branch");
            report.error = Some(ErrorReport::not_found(message, &args.file));
            return Ok(());
        }
        report.account = Some(AccountReport {
            account: account.to_string(),
            key: hex::encode(account.key()),
            balance: state.balance.to_string(),
            next_nonce: state.nonce,
            history,
        });
    } else if let Some(name) = args.block {
        let is_genesis = match name {
            BlockName::Height(height) => height == 0,
            BlockName::Id(id) => id == chain_id,
        };
        // What stands at a height is what was not taken back.
        let found = found.filter(|found| found.best_branch || matches!(name, BlockName::Id(_)));
        match found {
            _ if is_genesis => report.block = Some(genesis(params)),
            Some(found) => report.block = Some(found.block_report(&chain_id)),
            None => report.error = Some(no_block(name, &args.file)),
        }
    } else if let Some(id) = args.transaction {
        match found {
            Some(found) => report.transaction = found.transaction_report(&chain_id),
            None => {
                let message = format!("no block of this file holds a transaction {id}");
                report.error = Some(ErrorReport::not_found(message, &args.file));
            }
        }
    }
    Ok(())
}

fn no_block(name: BlockName, path: &Path) -> ErrorReport {
    let message = match name {
        BlockName::Height(height) => {
            format!("there is no block at height {} yet", grouped(height.into()))
        }
        BlockName::Id(id) => format!("there is no block {id} in this file"),
    };
    ErrorReport::not_found(message, path)
}

/// A block that was looked for.
struct Found {
    height: u32,
    id: Hash256,
    bytes: Vec<u8>,
    /// The index of the transaction that was looked for.
    index: u32,
    best_branch: bool,
}

/// Whether a block is what is looked for, or holds it, and at which index.
fn is_wanted(args: &ShowArgs, block: &StoredBlock<'_>, chain_id: &Hash256) -> Option<u32> {
    match (args.block, args.transaction) {
        (Some(BlockName::Height(height)), _) => (height == block.height).then_some(0),
        (Some(BlockName::Id(id)), _) => (id == block.id).then_some(0),
        (None, Some(id)) => {
            let block = decoded(block.bytes);
            let mut transactions = block.transactions();
            let found = transactions.find(|(_, transaction)| transaction.id(chain_id) == id);
            found.map(|(index, _)| index)
        }
        (None, None) => None,
    }
}

fn decoded(bytes: &[u8]) -> Block<'_> {
    Block::decode(bytes).expect("it was decoded when it was read")
}

impl Found {
    fn new(block: &StoredBlock<'_>, index: u32) -> Self {
        let StoredBlock { height, id, bytes, .. } = *block;
        Self { height, id, bytes: bytes.to_vec(), index, best_branch: true }
    }

    fn block_report(&self, chain_id: &Hash256) -> BlockReport {
        let block = decoded(&self.bytes);
        let transactions = block.transactions();
        let transactions = transactions
            .map(|(index, transaction)| TransactionReport::of(index, &transaction, chain_id));
        BlockReport {
            best_branch: self.best_branch,
            bytes: self.bytes.len(),
            transactions: transactions.collect(),
            ..BlockReport::of_header(self.height, &block.header)
        }
    }

    fn transaction_report(&self, chain_id: &Hash256) -> Option<TransactionReport> {
        let block = decoded(&self.bytes);
        let mut transactions = block.transactions();
        let (index, transaction) = transactions.find(|(index, _)| *index == self.index)?;
        let (hash, best_branch) = (self.id.to_string(), self.best_branch);
        let place = PlaceReport { height: self.height, hash, best_branch };
        let report = TransactionReport::of(index, &transaction, chain_id);
        Some(TransactionReport { block: Some(place), ..report })
    }
}

/// Genesis has no body.
fn genesis(params: &Params) -> BlockReport {
    BlockReport::of_header(0, &params.genesis())
}

impl BlockReport {
    /// A block of which nothing but the header is known, with the root as ledgers print it.
    fn of_header(height: u32, header: &Header) -> Self {
        Self {
            height,
            hash: header.id().to_string(),
            best_branch: true,
            previous: header.parent().to_string(),
            merkle_root: hex::encode(header.merkle_root().as_bytes()),
            version: header.version(),
            time: header.time(),
            bits: header.bits().to_string(),
            nonce: header.nonce(),
            bytes: Header::LEN,
            transactions: Vec::new(),
            transaction_ids: None,
        }
    }
}

impl TransactionReport {
    fn of(tx: u32, transaction: &Transaction<'_>, chain_id: &Hash256) -> Self {
        let common = Self {
            id: transaction.id(chain_id).to_string(),
            tx,
            from: transaction.sender().map(ToString::to_string),
            fee: transaction.fee().to_string(),
            nonce: transaction.nonce(),
            signature: transaction.signature().map(hex::encode),
            ..Self::default()
        };
        match transaction {
            Transaction::Reward { to, amount, extranonce, .. } => Self {
                kind: "reward",
                to: Some(to.to_string()),
                amount: Some(amount.to_string()),
                extranonce: Some(*extranonce),
                ..common
            },
            Transaction::Transfer { to, amount, memo, .. } => Self {
                kind: "transfer",
                to: Some(to.to_string()),
                amount: Some(amount.to_string()),
                memo: Some(hex::encode(memo)),
                ..common
            },
            Transaction::Record { tag, payload, .. } => Self {
                kind: "record",
                tag: Some(hex::encode(tag)),
                payload: Some(hex::encode(payload)),
                ..common
            },
        }
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{:>5} {:<8} {}", self.tx, self.kind, self.id)?;
        let lines = [("from", &self.from), ("to", &self.to), ("amount", &self.amount)];
        for (name, value) in lines {
            if let Some(value) = value {
                writeln!(out, "               {name:<8} {value}")?;
            }
        }
        if let Some(nonce) = self.nonce {
            writeln!(out, "               fee      {}, nonce {nonce}", self.fee)?;
        }
        for (name, bytes) in [("memo", &self.memo), ("tag", &self.tag), ("payload", &self.payload)]
        {
            if let Some(bytes) = bytes.as_ref().filter(|bytes| !bytes.is_empty()) {
                writeln!(out, "               {name:<8} {}", as_text(bytes))?;
            }
        }
        Ok(())
    }
}

/// Bytes for people: as text if they are printable, else in hex.
fn as_text(digits: &str) -> String {
    let text = hex::decode(digits).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match text.filter(|text| !text.chars().any(char::is_control)) {
        Some(text) => format!("\"{text}\""),
        None => format!("0x{digits}"),
    }
}

/// What a block means to an account.
fn add_history(block: &StoredBlock<'_>, account: &Account, history: &mut Vec<HistoryReport>) {
    let entry =
        |tx, kind, counterparty: Option<&Account>, amount: u64, fee: Option<u64>| HistoryReport {
            height: block.height,
            tx,
            kind,
            counterparty: counterparty.map(ToString::to_string),
            amount: amount.to_string(),
            fee: fee.map(|fee| fee.to_string()),
        };
    for (tx, transaction) in decoded(block.bytes).transactions() {
        let is_sender = transaction.sender() == Some(account);
        match transaction {
            Transaction::Reward { to, amount, .. } if to == *account => {
                history.push(entry(tx, "reward", None, amount, None));
            }
            Transaction::Transfer { to, amount, fee, .. } if is_sender => {
                history.push(entry(tx, "sent", Some(&to), amount, Some(fee)));
            }
            Transaction::Transfer { from, to, amount, .. } if to == *account => {
                history.push(entry(tx, "received", Some(&from), amount, None));
            }
            Transaction::Record { fee, .. } if is_sender => {
                history.push(entry(tx, "record", None, 0, Some(fee)));
            }
            _ => {}
        }
    }
}

impl Report {
    fn to_text(&self) -> String {
        let mut text = String::new();
        self.write_text(&mut text).expect("a string takes any text");
        text
    }

    fn write_text(&self, out: &mut String) -> std::fmt::Result {
        if let Some(block) = &self.block {
            return block.write(out);
        }
        if let Some(transaction) = &self.transaction {
            if let Some(PlaceReport { height, hash, best_branch }) = &transaction.block {
                let height = grouped((*height).into());
                writeln!(out, "block      height {height}, {hash}")?;
                write_taken_back(out, *best_branch)?;
            }
            return transaction.write(out);
        }
        match &self.account {
            Some(account) => account.write(out),
            None => self.summary.write(out),
        }
    }
}

fn write_taken_back(out: &mut String, best_branch: bool) -> std::fmt::Result {
    if best_branch {
        Ok(())
    } else {
        writeln!(out, "           taken back: not on the best branch")
    }
}

impl BlockReport {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "block      height {}, {}", grouped(self.height.into()), self.hash)?;
        write_taken_back(out, self.best_branch)?;
        writeln!(out, "previous   {}", self.previous)?;
        writeln!(out, "root       {}", self.merkle_root)?;
        writeln!(
            out,
            "header     version {}, time {}, bits {}, nonce {}",
            self.version, self.time, self.bits, self.nonce
        )?;
        if let Some(ids) = &self.transaction_ids {
            let (bytes, count) = (grouped(self.bytes as u64), ids.len());
            writeln!(out, "body       {bytes} bytes, {count} transactions")?;
            return ids.iter().zip(0..).try_for_each(|(id, tx)| writeln!(out, "{tx:>5} {id}"));
        }
        if self.transactions.is_empty() {
            return Ok(());
        }
        let (bytes, count) = (grouped(self.bytes as u64), self.transactions.len());
        writeln!(out, "body       {bytes} bytes, {count} transactions")?;
        self.transactions.iter().try_for_each(|transaction| transaction.write(out))
    }
}

impl AccountReport {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "account    {}", self.account)?;
        writeln!(out, "key        {}", self.key)?;
        writeln!(out, "balance    {}", self.balance)?;
        writeln!(out, "nonce      {} is its next", self.next_nonce)?;
        for entry in &self.history {
            let HistoryReport { height, tx, kind, amount, .. } = entry;
            write!(out, "{:>10} {tx:>5} {kind:<8} {amount:>20}", grouped((*height).into()))?;
            if let Some(fee) = &entry.fee {
                write!(out, "  fee {fee}")?;
            }
            if let Some(counterparty) = &entry.counterparty {
                write!(out, "  {} {counterparty}", if *kind == "sent" { "to" } else { "from" })?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}
