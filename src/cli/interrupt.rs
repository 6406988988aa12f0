//! Ctrl-C: ends the work at the next safe point, or at once if that does not come.

use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::output;

/// How long the work may take to end by itself: a batch takes milliseconds, but a read from a pipe
/// can wait for ever.
const GRACE: Duration = Duration::from_millis(300);

/// The exit code of a process that Ctrl-C ended: 128 + SIGINT.
pub(super) const EXIT_CODE: u8 = 130;

/// Calls `stop` on Ctrl-C; if the process is still there after a moment, prints `last_words` and
/// ends it.
pub(super) fn on_interrupt(
    stop: impl Fn() + Send + 'static,
    last_words: Arc<dyn Fn() -> String + Send + Sync>,
) {
    // A second handler in one process is refused; the first then stays, which is as good.
    let _ = ctrlc::set_handler(move || {
        stop();
        thread::sleep(GRACE);
        output::note(&last_words());
        process::exit(i32::from(EXIT_CODE));
    });
}
