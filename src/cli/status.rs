//! The status line: on stderr, only on a terminal, only for work over a second.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const PATIENCE: Duration = Duration::from_secs(1);
const REFRESH: Duration = Duration::from_millis(200);

/// A status line that a thread keeps up to date until it is dropped.
pub(super) struct Status {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Status {
    /// Shows what `line` says of the seconds since the start.
    pub(super) fn start(line: impl Fn(f64) -> String + Send + 'static) -> Self {
        // indicatif draws nothing when stderr is no terminal; then there is no need of a thread.
        if !console_is_terminal() {
            return Self { stop: None, thread: None };
        }
        let (stop, stopped) = channel();
        let thread = thread::spawn(move || {
            let start = Instant::now();
            if stopped.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let bar = ProgressBar::new_spinner();
            bar.set_style(ProgressStyle::with_template("{spinner} {wide_msg}").unwrap_or_else(
                |_| ProgressStyle::default_spinner(), // the template above is valid
            ));
            while stopped.recv_timeout(REFRESH) == Err(RecvTimeoutError::Timeout) {
                bar.set_message(line(start.elapsed().as_secs_f64()));
                bar.tick();
            }
            bar.finish_and_clear();
        });
        Self { stop: Some(stop), thread: Some(thread) }
    }
}

fn console_is_terminal() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stderr())
}

impl Drop for Status {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // The thread draws a line and can do no harm by failing to.
            let _ = thread.join();
        }
    }
}
