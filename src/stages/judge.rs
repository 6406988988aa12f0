//! The third stage: which network, which branch, which rule.

use std::slice::from_ref;

use crate::bitcoin::{HeaderRules, Network, Params, network_of};
use crate::chain::{HeaderTree, MEDIAN_BLOCKS, Outcome, Start};
use crate::dump::FileTable;
use crate::error::Error;
use crate::primitives::{Hash256, Header};
use crate::verdict::Position;

use super::hash::HashedBatch;
use super::target::{Append, Opened};
use super::{Busy, Family, Options, Trusted, Validation};

/// Headers that are kept while the network is not known: none of them can be judged.
const UNDECIDED_MAX: usize = 1 << 20;

/// Headers for which room is made beforehand, whatever the size of the files. Room that is not used
/// is address space alone, but for a byte or two a header.
const RESERVED_MAX: usize = 1 << 24;

/// Judges headers as they come.
pub(super) struct Judge<'a> {
    options: Options,
    /// How many headers the input may hold.
    expected: usize,
    /// The first header of the input, with its place.
    first: Option<(Header, Position)>,
    /// The network that the input has shown, with the place where it did.
    shown: Option<(Network, Position)>,
    tree: Option<HeaderTree<HeaderRules>>,
    /// Whether bodies are judged afterwards.
    with_bodies: bool,
    /// The chain file, until the network is known; then its way in.
    append: Append<'a>,
    opened: Opened<'a>,
    undecided: Vec<(Header, Hash256, Position)>,
    obstacle: Option<Obstacle>,
}

/// Why the question cannot be answered as it was put.
enum Obstacle {
    /// A block of another network than the one that was named, or shown first.
    TwoNetworks(Network, Position),
    /// [`UNDECIDED_MAX`] headers showed no network.
    NoNetwork,
    /// A block that connects to the genesis which is known, where a start is to be trusted.
    NeedlessTrust(Position),
    /// Soft forks cannot be moved on this network.
    ActivationHeights(Error),
    /// The chain file cannot take this network.
    Target(Error),
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        options: &Options,
        expected: usize,
        with_bodies: bool,
        append: Append<'a>,
    ) -> Result<Self, Error> {
        if append.is_some() && options.start_height.is_some() {
            return Err(Error::usage(
                "--start-height is not for a chain file: what it holds was checked from genesis on",
            ));
        }
        let mut judge = Self {
            options: options.clone(),
            expected,
            first: None,
            shown: None,
            tree: None,
            with_bodies,
            append,
            opened: Opened::Nothing,
            undecided: Vec::new(),
            obstacle: None,
        };
        // A wish that no input can fulfil is refused before any is read.
        if let Some(params) = options.network.clone() {
            judge.options.network = Some(judge.with_moved_forks(params)?);
        }
        Ok(judge)
    }

    pub(super) fn seen(&self) -> u64 {
        let judged = self.tree.as_ref().map_or(0, HeaderTree::seen);
        judged + self.undecided.len() as u64
    }

    pub(super) fn best_height(&self) -> u32 {
        self.tree.as_ref().map_or(0, HeaderTree::best_height)
    }

    /// Whether the rest of the input cannot change the answer.
    pub(super) const fn is_stuck(&self) -> bool {
        self.obstacle.is_some()
    }

    pub(super) fn take(&mut self, batch: &HashedBatch) -> Result<(), Error> {
        let (headers, ids, positions) = (batch.headers(), batch.ids(), batch.positions());
        let mut magics = batch.magics().iter().peekable();
        let mut index = 0;
        while index < headers.len() && !self.is_stuck() {
            let magic = magics.next_if(|(first, _)| *first == index).map(|(_, network)| *network);
            if magic.is_none() {
                let end = magics.peek().map_or(headers.len(), |(first, _)| *first);
                let run = index..end;
                let (headers, ids) = (&headers[run.clone()], &ids[run.clone()]);
                let taken = self.take_run(headers, ids, &positions[run]);
                if taken > 0 {
                    index += taken;
                    self.keep_up()?;
                    continue;
                }
            }
            self.take_one(&headers[index], ids[index], positions[index], magic);
            index += 1;
            self.keep_up()?;
        }
        Ok(())
    }

    /// Brings the chain file to the best branch if that is far ahead. Whether it is must be seen at each header,
    /// so that the file does not depend on how the input is cut.
    fn keep_up(&mut self) -> Result<(), Error> {
        match (&self.tree, &mut self.opened, &self.obstacle) {
            (Some(tree), Opened::Headers(sink), None) => sink.keep_up(tree),
            _ => Ok(()),
        }
    }

    /// Takes as many headers as continue the chain and show nothing new, and says how many. A header
    /// that shows a network is no child of an accepted block, unless of the one that the tree starts
    /// with.
    fn take_run(&mut self, headers: &[Header], ids: &[Hash256], positions: &[Position]) -> usize {
        let Some(tree) = self.tree.as_mut().filter(|tree| !tree.is_at_start()) else { return 0 };
        let Opened::Headers(sink) = &mut self.opened else {
            return tree.insert_run(headers, ids, positions);
        };
        // Elsewhere the best branch may grow by more than a header at a time.
        if !tree.is_at_best() {
            return 0;
        }
        let count = headers.len().min(sink.room(tree) as usize);
        let first = tree.best() + 1;
        let taken = tree.insert_run(&headers[..count], &ids[..count], &positions[..count]);
        sink.took(tree, first, &headers[..taken]);
        taken
    }

    /// Brings the chain file to the best branch, if there is a file, and waits until all of it is safe.
    pub(super) fn follow(&mut self) -> Result<(), Error> {
        match (&self.tree, &mut self.opened, &self.obstacle) {
            (Some(tree), Opened::Headers(sink), None) => sink.finish(tree),
            // What was begun is told of, whatever came then.
            (_, Opened::Headers(sink), _) => sink.settle(),
            _ => Ok(()),
        }
    }

    fn take_one(
        &mut self,
        header: &Header,
        id: Hash256,
        position: Position,
        magic: Option<Network>,
    ) {
        if self.first.is_none() {
            self.first = Some((*header, position));
            if let Some(params) = self.options.network.clone() {
                self.plant(params);
            }
        }
        if let Some(network) = magic {
            self.show(network, position);
        }
        if let Some(network) = network_of(header) {
            self.show(network, position);
            if self.options.start_height.is_some() {
                self.obstacle.get_or_insert(Obstacle::NeedlessTrust(position));
            }
        }
        match &mut self.tree {
            Some(tree) => insert(tree, &mut self.opened, header, id, position),
            None if self.undecided.len() < UNDECIDED_MAX => {
                self.undecided.push((*header, id, position));
            }
            None => self.obstacle = Some(Obstacle::NoNetwork),
        }
    }

    /// The input holds the genesis of `network` or a child of it.
    fn show(&mut self, network: Network, position: Position) {
        let named = self.options.network.as_ref().map(|params| params.name.as_str());
        let Some(known) = named.or(self.shown.map(|(shown, _)| shown.name())) else {
            self.shown = Some((network, position));
            match self.with_moved_forks(Params::of(network)) {
                Ok(params) => self.plant(params),
                Err(error) => self.obstacle = Some(Obstacle::ActivationHeights(error)),
            }
            return;
        };
        // Networks that a test defines have names of their own, and may share a genesis.
        if known != network.name() && known.parse::<Network>().is_ok() {
            self.obstacle = Some(Obstacle::TwoNetworks(network, position));
        }
    }

    /// Starts the tree: from now on the network is known.
    fn plant(&mut self, params: Params) {
        let start = match (self.options.start_height, self.first) {
            (Some(height), Some((first, _))) => {
                Start::Trusted { id: first.parent(), height: height.saturating_sub(1) }
            }
            _ => Start::Genesis,
        };
        let rules = HeaderRules::new(params.clone(), self.options.now);
        let mut tree = match std::mem::take(&mut self.append).open(&params, self.options.overlap) {
            Ok((Opened::Nothing, _)) => HeaderTree::new(rules, start, self.options.rejections_max),
            Ok((opened, Some(mut tree))) => {
                tree.set_rules(rules);
                tree.set_rejections_max(self.options.rejections_max);
                self.opened = opened;
                tree
            }
            Ok((_, None)) => unreachable!("a file comes with the tree of what it holds"),
            Err(error) => {
                self.obstacle = Some(Obstacle::Target(error));
                return;
            }
        };
        if self.with_bodies {
            tree = tree.with_bodies();
        }
        tree.reserve(self.expected.min(RESERVED_MAX));
        for (header, id, position) in std::mem::take(&mut self.undecided) {
            insert(&mut tree, &mut self.opened, &header, id, position);
        }
        self.tree = Some(tree);
    }

    /// The parameters with soft forks moved as the user asked.
    fn with_moved_forks(&self, mut params: Params) -> Result<Params, Error> {
        for (name, height) in &self.options.activation_heights {
            if params.name != Network::Regtest.name() {
                let message =
                    format!("--activation-height is for regtest, and this is {}", params.name);
                return Err(Error::usage(message));
            }
            let moved = params.heights.set(name, *height);
            moved.map_err(|error| Error::usage(error.to_string()))?;
        }
        Ok(params)
    }

    /// Ends the headers. `None` if there were none to show the network.
    fn settle(
        &mut self,
        files: &FileTable,
        unreadable: &mut Option<Error>,
    ) -> Result<Option<HeaderTree<HeaderRules>>, Error> {
        if let Opened::Headers(sink) = &mut self.opened {
            // What was begun stays, whatever is said of the rest.
            sink.settle()?;
        }
        match self.obstacle.take() {
            Some(Obstacle::TwoNetworks(network, position)) => {
                return Err(self.two_networks(network, position, files));
            }
            Some(Obstacle::ActivationHeights(error) | Obstacle::Target(error)) => {
                return Err(error);
            }
            Some(Obstacle::NeedlessTrust(position)) => return Err(needless_trust(position, files)),
            Some(Obstacle::NoNetwork) => return Err(self.no_network(files, true)),
            None => {}
        }
        if self.tree.is_none() {
            match self.options.network.clone() {
                Some(params) => self.plant(params),
                // What could not be read may be what would have shown it.
                None if self.first.is_some() => {
                    return Err(unreadable.take().unwrap_or_else(|| self.no_network(files, false)));
                }
                None => {}
            }
        }
        match self.obstacle.take() {
            Some(Obstacle::Target(error)) => Err(error),
            _ => Ok(self.tree.take()),
        }
    }

    /// Ends the input, where it is headers alone. `unreadable` is what kept it from being read whole, if
    /// anything did.
    pub(super) fn finish(
        mut self,
        files: FileTable,
        mut unreadable: Option<Error>,
        mut busy: Busy,
    ) -> Result<Validation, Error> {
        let Some(tree) = self.settle(&files, &mut unreadable)? else {
            return Ok(Validation {
                error: unreadable,
                ..Validation::nothing(Family::Bitcoin, files, busy)
            });
        };
        self.tree = Some(tree);
        self.follow()?;
        let stored = match &self.opened {
            Opened::Headers(sink) => {
                sink.add_to(&mut busy);
                Some(sink.stored())
            }
            _ => None,
        };
        let trusted = self.trusted();
        let (first, tree) = (self.first, self.tree.expect("it was put back"));
        let params = tree.rules().params().clone();
        let outcome = tree.finish();
        let unconnected = nothing_connects(&params, &outcome, first, None, &files);
        Ok(Validation {
            params: Some(params),
            outcome: Some(outcome),
            trusted,
            stored,
            // What could not be read may be why nothing connects.
            error: unreadable.or(unconnected),
            ..Validation::nothing(Family::Bitcoin, files, busy)
        })
    }

    /// Ends the headers, where bodies come next. `None` if there were no headers to show the network.
    pub(super) fn into_bodies(
        mut self,
        files: &FileTable,
        unreadable: &mut Option<Error>,
    ) -> Result<Option<JudgedHeaders<'a>>, Error> {
        let Some(tree) = self.settle(files, unreadable)? else { return Ok(None) };
        let trusted = self.trusted();
        Ok(Some(JudgedHeaders { tree, trusted, opened: self.opened, first: self.first }))
    }

    fn trusted(&self) -> Option<Trusted> {
        let (height, (first, _)) = self.options.start_height.zip(self.first)?;
        let params = match (&self.tree, &self.options.network, self.shown) {
            (Some(tree), ..) => tree.rules().params().clone(),
            (None, Some(params), _) => params.clone(),
            (None, None, Some((shown, _))) => Params::of(shown),
            (None, None, None) => return None,
        };
        Some(taken_on_trust(&params, height, &first))
    }

    fn two_networks(&self, network: Network, position: Position, files: &FileTable) -> Error {
        let other = match (&self.options.network, self.shown) {
            (Some(params), _) if !matches!(self.opened, Opened::Nothing) => {
                format!("--network or the chain file says {}", params.name)
            }
            (Some(params), _) => format!("--network says {}", params.name),
            (None, Some((shown, at))) => files.place(at).map_or_else(
                || format!("the first block belongs to {shown}"),
                |place| format!("{place} to {shown}"),
            ),
            (None, None) => unreachable!("a conflict has two sides"),
        };
        let place = files.place(position);
        let here = place.as_ref().map_or_else(|| "a block".into(), ToString::to_string);
        let message = format!("two networks in one run: {here} belongs to {network}, {other}");
        Error::Usage { message, place }
    }

    fn no_network(&self, files: &FileTable, gave_up: bool) -> Error {
        let looked = if gave_up { UNDECIDED_MAX } else { self.undecided.len() };
        Error::Usage {
            message: format!(
                "cannot tell the network: among the {} {looked} header{} there is no genesis and \
                 no child of one; name it with --network, and if the dump begins in the middle of \
                 the chain, give the height of its first block with --start-height",
                if gave_up { "first" } else { "dump's" },
                if looked == 1 { "" } else { "s" },
            ),
            place: self.first.and_then(|(_, position)| files.place(position)),
        }
    }
}

/// Gives a header to the tree, and what the tree does not keep of it to the chain file.
fn insert(
    tree: &mut HeaderTree<HeaderRules>,
    opened: &mut Opened<'_>,
    header: &Header,
    id: Hash256,
    position: Position,
) {
    let number = tree.insert(header, id, position);
    if let (Opened::Headers(sink), Some(number)) = (opened, number) {
        sink.took(tree, number, from_ref(header));
    }
}

/// Headers that were judged, and whose bodies come next.
pub(super) struct JudgedHeaders<'a> {
    pub(super) tree: HeaderTree<HeaderRules>,
    pub(super) trusted: Option<Trusted>,
    /// The chain file.
    pub(super) opened: Opened<'a>,
    /// The first header of the input, with its place.
    pub(super) first: Option<(Header, Position)>,
}

/// What to say if no block of the input connects to the start. `claimed` is the height that the first block
/// says it has.
pub(super) fn nothing_connects(
    params: &Params,
    outcome: &Outcome,
    first: Option<(Header, Position)>,
    claimed: Option<u32>,
    files: &FileTable,
) -> Option<Error> {
    let claimed = claimed.map_or(String::new(), |height| {
        format!(" (this one says of itself that its height is {height})")
    });
    let blocks = outcome.blocks;
    if blocks.orphans == 0 || blocks.orphans + blocks.duplicates != blocks.seen {
        return None;
    }
    Some(Error::NothingConnects {
        message: format!(
            "nothing connects to the start of {}: if the dump begins in the middle of the chain, \
             --start-height N takes the parent of its first block on trust{claimed}",
            params.name
        ),
        place: first.and_then(|(_, position)| files.place(position)),
    })
}

fn needless_trust(position: Position, files: &FileTable) -> Error {
    let place = files.place(position);
    let here = place.as_ref().map_or_else(|| "a block".into(), ToString::to_string);
    Error::Usage {
        message: format!(
            "{here} connects to genesis, so nothing needs to be taken on trust: leave \
             --start-height out"
        ),
        place,
    }
}

/// What `--start-height` leaves unchecked.
fn taken_on_trust(params: &Params, height: u32, first: &Header) -> Trusted {
    let interval = params.retarget_interval();
    let whole_period = height.div_ceil(interval).saturating_add(1).saturating_mul(interval);
    let window = u32::try_from(MEDIAN_BLOCKS).expect("eleven");
    Trusted {
        parent: first.parent(),
        height,
        median_from: height.saturating_add(window),
        retarget_from: (!params.no_retargeting).then_some(whole_period),
        first_retarget_in_part: !params.no_retargeting && !height.is_multiple_of(interval),
    }
}
