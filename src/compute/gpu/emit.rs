//! Writes SHA-256 as straight-line WGSL, with everything that is known early computed early.
//!
//! A word is known when the kernel is compiled, when a job is set up, or only in a thread. The
//! [`Emitter`] runs the rounds of FIPS 180-4 over such words: an operation on what the compiler
//! knows is folded here, one on what the job knows is recorded for the host, and the rest becomes
//! one `let` of the kernel. Sums are split, so that their early terms meet in a single word.
//!
//! Loops over arrays are several times slower on every driver measured; and inlining the rotates
//! in place of the helper functions of `sha256.wgsl` makes shaders slow to parse for no gain.

use std::fmt::Write as _;

use crate::compute::reference::K;

/// A 32-bit word, by when it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// When the kernel is compiled.
    Known(u32),
    /// When a job is set up: an index into the host's [`Step`]s.
    Job(usize),
    /// In a thread: an index into the kernel's [`Line`]s.
    Thread(usize),
}

/// The functions of `sha256.wgsl`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Function {
    S0,
    S1,
    B0,
    B1,
    Ch,
    Maj,
    #[cfg_attr(not(feature = "mine"), expect(dead_code, reason = "only searches make a nonce"))]
    SwapBytes,
}

impl Function {
    fn name(self) -> &'static str {
        match self {
            Self::S0 => "s0",
            Self::S1 => "s1",
            Self::B0 => "b0",
            Self::B1 => "b1",
            Self::Ch => "ch",
            Self::Maj => "maj",
            Self::SwapBytes => "bswap",
        }
    }

    fn apply(self, arguments: &[u32]) -> u32 {
        let [x, y, z] = std::array::from_fn(|i| arguments.get(i).copied().unwrap_or(0));
        match self {
            Self::S0 => x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3),
            Self::S1 => x.rotate_right(17) ^ x.rotate_right(19) ^ (x >> 10),
            Self::B0 => x.rotate_right(2) ^ x.rotate_right(13) ^ x.rotate_right(22),
            Self::B1 => x.rotate_right(6) ^ x.rotate_right(11) ^ x.rotate_right(25),
            Self::Ch => (x & y) ^ (!x & z),
            Self::Maj => (x & y) ^ (x & z) ^ (y & z),
            Self::SwapBytes => x.swap_bytes(),
        }
    }
}

/// How a kernel adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sums {
    /// As everybody does.
    #[default]
    Plain,
    /// Each term is multiplied with a one of which the compiler does not know that it is one.
    ///
    /// NVIDIA's processors have multiply-and-add beside the unit that does rotations, logic and plain
    /// additions. SHA-256 keeps that unit busy and leaves the other idle; with the additions moved there
    /// the search is 1.16 times as fast on an H100 (8.08 to 6.95 GH/s in one run). Elsewhere a product is
    /// dearer than a sum.
    #[cfg_attr(
        not(any(feature = "mine", test)),
        expect(dead_code, reason = "only searches are compute-bound")
    )]
    Multiplied,
}

impl Sums {
    /// The sum of these words; `one` is the kernel's name for the one.
    fn text(self, words: &[String]) -> String {
        let mut words = words.iter();
        let first = words.next().cloned().unwrap_or_default();
        match self {
            Self::Plain => words.fold(first, |sum, word| format!("{sum} + {word}")),
            Self::Multiplied => words.fold(first, |sum, word| format!("({word} * one + {sum})")),
        }
    }
}

/// What the host computes once a job.
#[cfg_attr(not(feature = "mine"), expect(dead_code, reason = "only searches have jobs"))]
enum Step {
    Input(usize),
    Call(Function, Vec<Word>),
    Sum(Vec<Word>),
}

/// The right-hand side of one `let` of the kernel.
enum Line {
    Input(String),
    Load(usize),
    Call(Function, Vec<Word>),
    Sum(Vec<Word>),
}

/// A kernel in the making.
#[derive(Default)]
pub(super) struct Emitter {
    steps: Vec<Step>,
    lines: Vec<Line>,
}

impl Emitter {
    /// A word that the kernel text names.
    pub(super) fn thread_input(&mut self, text: impl Into<String>) -> Word {
        self.line(Line::Input(text.into()))
    }

    /// The word that the host is handed at `index` for each job.
    #[cfg(feature = "mine")]
    pub(super) fn job_input(&mut self, index: usize) -> Word {
        self.step(Step::Input(index))
    }

    pub(super) fn call(&mut self, function: Function, arguments: &[Word]) -> Word {
        let known: Option<Vec<u32>> = arguments
            .iter()
            .map(|word| if let Word::Known(value) = word { Some(*value) } else { None })
            .collect();
        if let Some(values) = known {
            return Word::Known(function.apply(&values));
        }
        if !arguments.iter().any(|word| matches!(word, Word::Thread(_))) {
            return self.step(Step::Call(function, arguments.to_vec()));
        }
        let arguments = arguments.iter().map(|&word| self.loaded(word)).collect();
        self.line(Line::Call(function, arguments))
    }

    /// The sum modulo 2^32.
    pub(super) fn sum(&mut self, terms: &[Word]) -> Word {
        let (mut late, early): (Vec<Word>, Vec<Word>) =
            terms.iter().partition(|word| matches!(word, Word::Thread(_)));
        let early = self.early_sum(&early);
        if late.is_empty() {
            return early;
        }
        if early != Word::Known(0) {
            let early = self.loaded(early);
            late.push(early);
        }
        if let [word] = late[..] { word } else { self.line(Line::Sum(late)) }
    }

    /// The sum of words that are known before a thread runs.
    fn early_sum(&mut self, terms: &[Word]) -> Word {
        let mut constant = 0u32;
        let mut job = Vec::new();
        for &term in terms {
            match term {
                Word::Known(value) => constant = constant.wrapping_add(value),
                other => job.push(other),
            }
        }
        match (&job[..], constant) {
            ([], _) => Word::Known(constant),
            ([word], 0) => *word,
            _ => {
                job.push(Word::Known(constant));
                self.step(Step::Sum(job))
            }
        }
    }

    /// Runs the first `count` rounds of a block (FIPS 180-4, section 6.2.2, steps 1 to 3).
    pub(super) fn rounds(
        &mut self,
        state: [Word; 8],
        block: [Word; 16],
        count: usize,
    ) -> [Word; 8] {
        let mut w = block.to_vec();
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
        for t in 0..count {
            if t >= 16 {
                let sigma1 = self.call(Function::S1, &[w[t - 2]]);
                let sigma0 = self.call(Function::S0, &[w[t - 15]]);
                w.push(self.sum(&[sigma1, w[t - 7], sigma0, w[t - 16]]));
            }
            let sigma1 = self.call(Function::B1, &[e]);
            let choice = self.call(Function::Ch, &[e, f, g]);
            let t1 = self.sum(&[h, sigma1, choice, Word::Known(K[t]), w[t]]);
            let sigma0 = self.call(Function::B0, &[a]);
            let majority = self.call(Function::Maj, &[a, b, c]);
            (h, g, f, e) = (g, f, e, self.sum(&[d, t1]));
            (d, c, b, a) = (c, b, a, self.sum(&[t1, sigma0, majority]));
        }
        [a, b, c, d, e, f, g, h]
    }

    /// Hashes a whole block into `state`.
    pub(super) fn compress(&mut self, state: [Word; 8], block: [Word; 16]) -> [Word; 8] {
        let end = self.rounds(state, block, 64);
        std::array::from_fn(|i| self.sum(&[state[i], end[i]]))
    }

    /// The kernel's text so far, without lines on which no result depends, and the results' names.
    ///
    /// Also returns the words that the text expects of the host, in order, as indices of steps.
    fn finish(&self, results: &[Word], sums: Sums) -> (String, Vec<String>, Vec<usize>) {
        let mut needed = vec![false; self.lines.len()];
        let mark = |needed: &mut Vec<bool>, words: &[Word]| {
            for word in words {
                if let Word::Thread(line) = word {
                    needed[*line] = true;
                }
            }
        };
        mark(&mut needed, results);
        for (index, line) in self.lines.iter().enumerate().rev() {
            if let (true, Line::Call(_, words) | Line::Sum(words)) = (needed[index], line) {
                mark(&mut needed, words);
            }
        }

        let mut text = String::new();
        let mut loads = Vec::new();
        for (index, line) in self.lines.iter().enumerate().filter(|(index, _)| needed[*index]) {
            let value = match line {
                Line::Input(text) => text.clone(),
                Line::Load(step) => {
                    loads.push(*step);
                    format!("job_word(job, {}u)", loads.len() - 1)
                }
                Line::Call(function, words) => {
                    format!("{}({})", function.name(), names(words).join(", "))
                }
                Line::Sum(words) => sums.text(&names(words)),
            };
            writeln!(text, "    let v{index} = {value};").expect("strings take all text");
        }
        (text, names(results), loads)
    }

    /// The word as a line of the kernel may use it; lines do not see the host's words.
    fn loaded(&mut self, word: Word) -> Word {
        let Word::Job(step) = word else { return word };
        let found = self.lines.iter().position(|line| matches!(line, Line::Load(s) if *s == step));
        found.map_or_else(|| self.line(Line::Load(step)), Word::Thread)
    }

    fn line(&mut self, line: Line) -> Word {
        self.lines.push(line);
        Word::Thread(self.lines.len() - 1)
    }

    fn step(&mut self, step: Step) -> Word {
        self.steps.push(step);
        Word::Job(self.steps.len() - 1)
    }
}

fn names(words: &[Word]) -> Vec<String> {
    let name = |word: &Word| match word {
        Word::Known(value) => format!("{value:#x}u"),
        Word::Thread(line) => format!("v{line}"),
        Word::Job(_) => unreachable!("lines use a job's words through loads"),
    };
    words.iter().map(name).collect()
}

/// The function `compress` of `compress.wgsl`, unrolled.
pub(super) fn compress() -> String {
    let mut emitter = Emitter::default();
    let state = std::array::from_fn(|i| emitter.thread_input(format!("state[{i}]")));
    let block = std::array::from_fn(|i| emitter.thread_input(format!("block[{i}]")));
    let results = emitter.compress(state, block);
    let (text, results, _) = emitter.finish(&results, Sums::Plain);
    format!(
        "fn compress(state: array<u32, 8>, block: array<u32, 16>) -> array<u32, 8> {{\n\
         {text}    return array<u32, 8>({});\n}}\n",
        results.join(", ")
    )
}

/// A function of a nonce, `name(job: u32, nonce: u32) -> u32`, and the host's share of it.
#[cfg(feature = "mine")]
pub(super) struct NonceFunction {
    /// The WGSL text.
    pub(super) text: String,
    steps: Vec<Step>,
    loads: Vec<usize>,
}

#[cfg(feature = "mine")]
impl NonceFunction {
    /// The kernel's function that returns `result`, and adds in one of two ways.
    pub(super) fn new(emitter: Emitter, name: &str, result: Word, sums: Sums) -> Self {
        let (text, results, loads) = emitter.finish(&[result], sums);
        let one = if sums == Sums::Multiplied { "    let one = search.one;\n" } else { "" };
        let text = format!(
            "fn {name}(job: u32, nonce: u32) -> u32 {{\n{one}{text}    return {};\n}}\n",
            results.join(", ")
        );
        Self { text, steps: emitter.steps, loads }
    }

    /// The number of words that the kernel expects for each job.
    pub(super) fn word_count(&self) -> usize {
        self.loads.len()
    }

    /// The words that the kernel expects, from the job's inputs.
    pub(super) fn words(&self, inputs: &[u32]) -> Vec<u32> {
        let mut values: Vec<u32> = Vec::with_capacity(self.steps.len());
        for step in &self.steps {
            let value = |word: &Word| match word {
                Word::Known(value) => *value,
                Word::Job(step) => values[*step],
                Word::Thread(_) => unreachable!("the host knows no thread's words"),
            };
            let next = match step {
                Step::Input(index) => inputs[*index],
                Step::Call(function, words) => {
                    function.apply(&words.iter().map(value).collect::<Vec<_>>())
                }
                Step::Sum(words) => words.iter().map(value).fold(0, u32::wrapping_add),
            };
            values.push(next);
        }
        self.loads.iter().map(|step| values[*step]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compute::reference::{self, IV};

    #[test]
    fn folds_a_known_block_to_its_digest() {
        let mut block = [0; 16];
        for (word, value) in block.iter_mut().zip(0u32..) {
            *word = value.wrapping_mul(0x9e37_79b9);
        }
        let mut bytes = [0; 64];
        for (bytes, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(block) {
            *bytes = word.to_be_bytes();
        }
        let mut expected = IV;
        reference::compress(&mut expected, &bytes);

        let mut emitter = Emitter::default();
        let digest = emitter.compress(IV.map(Word::Known), block.map(Word::Known));
        assert_eq!(digest, expected.map(Word::Known));
        assert!(emitter.lines.is_empty() && emitter.steps.is_empty());
    }

    #[test]
    fn sums_have_each_term_once() {
        let words = ["a", "b", "c"].map(String::from);
        assert_eq!(Sums::Plain.text(&words), "a + b + c");
        assert_eq!(Sums::Multiplied.text(&words), "(c * one + (b * one + a))");
    }

    #[test]
    fn unrolled_compress_has_no_loop_and_no_dead_line() {
        let text = compress();
        assert!(!text.contains("for") && !text.contains("var"));
        let lets = text.matches("let").count();
        // 24 inputs, 48 schedule words of three lets, 64 rounds of seven, 8 sums at the end.
        assert_eq!(lets, 24 + 48 * 3 + 64 * 7 + 8);
    }
}
