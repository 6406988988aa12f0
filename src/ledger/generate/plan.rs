//! Which blocks there are, in the order of the file, and who signs what in them.

use std::collections::VecDeque;

use super::random::{Domain, Random};
use super::{Options, SPACING_S, START_TIME};

/// The longest side branch, in blocks.
const SIDE_LEN_MAX: u32 = 3;

/// The number of the main branch; side branches count from 1.
pub(super) const MAIN: u32 = 0;

/// A block before anything is signed.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) branch: u32,
    pub(super) height: u32,
    pub(super) time: u32,
    /// Whether its branch ends with it.
    pub(super) is_last: bool,
    /// Who gets the reward.
    pub(super) rewarded: usize,
    /// Who signs, for each transaction but the reward.
    pub(super) senders: Vec<Sender>,
}

/// The sender of a transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    pub(super) account: usize,
    pub(super) nonce: u64,
}

/// A branch as far as it is planned.
struct Branch {
    number: u32,
    /// The height of its last block.
    last: u32,
    /// How much later than scheduled its blocks are.
    delay_s: u32,
    /// Whether its blocks come before those of the main branch.
    is_early: bool,
    /// The next nonce of each account.
    nonces: Vec<u64>,
}

/// The drafts of all blocks, in the order of the file.
pub(super) struct Plan<'o> {
    options: &'o Options,
    main: Branch,
    sides: Vec<Branch>,
    /// How many side branches have begun.
    begun: u32,
    /// The height that is planned next.
    height: u32,
    /// What is planned and not yet taken.
    ready: VecDeque<Draft>,
}

impl<'o> Plan<'o> {
    pub(super) fn new(options: &'o Options) -> Self {
        let nonces = vec![0; options.accounts as usize];
        let main =
            Branch { number: MAIN, last: options.blocks, delay_s: 0, is_early: false, nonces };
        Self { options, main, sides: Vec::new(), begun: 0, height: 1, ready: VecDeque::new() }
    }

    fn plan_height(&mut self) {
        let (options, height) = (self.options, self.height);
        self.begin_sides();
        // Side branches take their nonces before the main branch uses them up.
        for side in self.sides.iter_mut().filter(|side| side.is_early) {
            self.ready.push_back(side.draft(options, height));
        }
        self.ready.push_back(self.main.draft(options, height));
        for side in self.sides.iter_mut().filter(|side| !side.is_early) {
            self.ready.push_back(side.draft(options, height));
        }
        self.sides.retain(|side| side.last > height);
        self.height += 1;
    }

    /// Begins the side branch that forks off below the height that is planned next, if one does.
    fn begin_sides(&mut self) {
        let parent = self.height - 1;
        if self.begun == self.options.forks || self.fork_height(self.begun) != parent {
            return;
        }
        let options = self.options;
        let mut random =
            Random::new(options.seed.as_bytes(), Domain::Fork, &[u64::from(self.begun)]);
        // The main branch goes on beyond every side branch, so it has more work than any.
        let len_max = SIDE_LEN_MAX.min(options.blocks - parent - 1);
        let mut within = |first: u32, last: u32| {
            let number = random.within(&(u64::from(first)..=u64::from(last)));
            u32::try_from(number).expect("within numbers of 32 bits")
        };
        let len = within(1, len_max);
        self.begun += 1;
        self.sides.push(Branch {
            number: self.begun,
            last: parent + len,
            // At least a second, so that no two siblings are the same block.
            delay_s: within(1, SPACING_S / 2),
            is_early: within(0, 1) == 1,
            nonces: self.main.nonces.clone(),
        });
    }

    /// The height of the last block that side branch `index` shares with the main branch: evenly
    /// spread from 0 to the last but one, no two of them equal.
    fn fork_height(&self, index: u32) -> u32 {
        let heights = u64::from(self.options.blocks - 1);
        let height = (2 * u64::from(index) + 1) * heights / (2 * u64::from(self.options.forks));
        u32::try_from(height).expect("below the number of blocks")
    }
}

impl Iterator for Plan<'_> {
    type Item = Draft;

    fn next(&mut self) -> Option<Draft> {
        if self.ready.is_empty() && self.height <= self.options.blocks {
            self.plan_height();
        }
        self.ready.pop_front()
    }
}

impl Branch {
    /// Plans the block at `height`, and counts its nonces.
    fn draft(&mut self, options: &Options, height: u32) -> Draft {
        let place = [u64::from(self.number), u64::from(height)];
        let mut random = Random::new(options.seed.as_bytes(), Domain::Block, &place);
        let rewarded = random.index(self.nonces.len());
        let senders = (0..options.transactions).map(|_| {
            let account = random.index(self.nonces.len());
            let nonce = self.nonces[account];
            self.nonces[account] += 1;
            Sender { account, nonce }
        });
        Draft {
            branch: self.number,
            height,
            time: START_TIME + height * SPACING_S + self.delay_s,
            is_last: height == self.last,
            rewarded,
            senders: senders.collect(),
        }
    }
}
