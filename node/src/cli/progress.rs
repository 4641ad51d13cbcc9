//! Progress of long work: a bar on a terminal, plain lines with the time left otherwise.
//!
//! Both go to standard error, so that standard output holds the answer only.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows how far one long work has come.
pub struct Progress {
    what: &'static str,
    shown: Shown,
    started: Instant,
}

enum Shown {
    Bar(ProgressBar),
    Lines { next: Duration },
}

impl Progress {
    /// Begins to show a work of `total` blocks, as a verb such as "verifying".
    pub fn new(what: &'static str, total: u64) -> Self {
        let shown = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(total);
            let style = ProgressStyle::with_template(
                "{prefix} {wide_bar} {pos}/{len} blocks  {per_sec}  {eta} left",
            );
            bar.set_style(style.expect("a literal template"));
            bar.set_prefix(what);
            Shown::Bar(bar)
        } else {
            Shown::Lines { next: LINE_EVERY }
        };
        Self {
            what,
            shown,
            started: Instant::now(),
        }
    }

    /// Says how far the work is.
    pub fn at(&mut self, done: u64, total: u64) {
        let elapsed = self.started.elapsed();
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_length(total);
                bar.set_position(done);
            }
            Shown::Lines { next } if elapsed >= *next => {
                *next = elapsed + LINE_EVERY;
                eprintln!("{}", line(self.what, done, total, elapsed));
            }
            Shown::Lines { .. } => {}
        }
    }

    /// Ends the show.
    pub fn finish(self) {
        if let Shown::Bar(bar) = self.shown {
            bar.finish_and_clear();
        }
    }
}

/// One plain line: what, how much of how much, how fast, how long still.
fn line(what: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let rate = if seconds > 0.0 {
        done as f64 / seconds
    } else {
        0.0
    };
    let left = match total.checked_sub(done) {
        Some(rest) if rate > 0.0 => format!("{} s left", (rest as f64 / rate).ceil()),
        _ => "time left unknown".to_owned(),
    };
    format!("{what}: {done} of {total} blocks, {rate:.0} blocks/s, {left}")
}

#[cfg(test)]
mod tests {
    use super::line;
    use std::time::Duration;

    #[test]
    fn plain_lines_tell_the_time_left() {
        let cases = [
            (
                (50, 200, 5),
                "importing: 50 of 200 blocks, 10 blocks/s, 15 s left",
            ),
            (
                (0, 200, 5),
                "importing: 0 of 200 blocks, 0 blocks/s, time left unknown",
            ),
            (
                (200, 200, 10),
                "importing: 200 of 200 blocks, 20 blocks/s, 0 s left",
            ),
            (
                (3, 2, 0),
                "importing: 3 of 2 blocks, 0 blocks/s, time left unknown",
            ),
        ];
        for ((done, total, seconds), expected) in cases {
            assert_eq!(
                line("importing", done, total, Duration::from_secs(seconds)),
                expected
            );
        }
    }
}
