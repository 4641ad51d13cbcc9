//! A child process: spawned to die with its parent, stopped politely, then not.
//!
//! Invariant: when the supervisor is gone, however it went, no child is left. On Linux the kernel
//! sends the death signal when the *thread* that spawned ends, so spawning is the main thread's.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::error::DevnetError;

/// A log longer than this is set aside when its node starts.
const LOG_BYTES_MAX: u64 = 16 << 20;
/// How much of a log's end is looked at for an error message.
const TAIL_BYTES: u64 = 4096;
/// Lines of a log's end shown with an error.
const TAIL_LINES: usize = 12;

/// A running child, killed when dropped.
pub struct Child {
    process: std::process::Child,
    is_reaped: bool,
}

impl Child {
    /// Runs `program` with `arguments`, its output appended to `log`.
    pub fn spawn(program: &Path, arguments: &[OsString], log: &Path) -> Result<Self, DevnetError> {
        set_aside(log).map_err(DevnetError::io("set aside", log))?;
        let output = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(log)
            .map_err(DevnetError::io("open", log))?;
        let errors = output.try_clone().map_err(DevnetError::io("open", log))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors);
        // A group of its own: Ctrl-C at the terminal goes to the supervisor only.
        command.process_group(0);
        // The node's settings come from its command line alone.
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_setting(name)) {
            command.env_remove(name);
        }
        die_with_parent(&mut command);
        let process = command.spawn().map_err(DevnetError::io("run", program))?;
        Ok(Self {
            process,
            is_reaped: false,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.process.try_wait().ok().flatten();
        self.is_reaped |= status.is_some();
        status
    }

    /// Asks it to stop; a paused one is woken to hear it.
    pub fn ask_to_stop(&self) {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
    }

    /// Ends it at once.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        // Until it is reaped the id cannot belong to another process.
        if !self.is_reaped
            && let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended().is_none() && !self.is_reaped {
            self.kill();
            let _ = self.process.wait();
        }
    }
}

fn is_setting(name: &OsString) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("CAIRN_"))
}

#[cfg(target_os = "linux")]
fn die_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    // SAFETY: between fork and exec only two system calls are made, both async-signal-safe; nothing
    // is allocated and no lock is taken.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the call above: then nobody would send the signal.
            if rustix::process::getppid() == Some(parent) {
                Ok(())
            } else {
                Err(io::Error::from_raw_os_error(
                    rustix::io::Errno::SRCH.raw_os_error(),
                ))
            }
        });
    }
}

/// Elsewhere a supervisor that is killed leaves its nodes running.
#[cfg(not(target_os = "linux"))]
fn die_with_parent(_: &mut Command) {}

fn set_aside(log: &Path) -> io::Result<()> {
    match fs::metadata(log) {
        Ok(metadata) if metadata.len() > LOG_BYTES_MAX => {
            fs::rename(log, log.with_extension("log.old"))
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The last lines of a log.
pub fn tail(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = fs::File::open(log)?;
        let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    last.iter()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// "exit code 1" or "signal 9".
pub fn described(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn shell(script: &str, log: &Path) -> Child {
        Child::spawn(Path::new("/bin/sh"), &["-c".into(), script.into()], log).unwrap()
    }

    fn wait(child: &mut Child) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = child.ended() {
                return status;
            }
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "the child never ended"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn wait_for_line(log: &Path) -> String {
        let started = Instant::now();
        loop {
            let text = fs::read_to_string(log).unwrap_or_default();
            if text.ends_with('\n') {
                return text;
            }
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "no line in the log"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn output_goes_to_the_log_and_the_status_is_told() {
        let root = tempfile::tempdir().unwrap();
        let log = root.path().join("x.log");
        let mut child = shell("echo out; echo err >&2; exit 3", &log);
        assert_eq!(described(wait(&mut child)), "exit code 3");
        assert_eq!(fs::read_to_string(&log).unwrap(), "out\nerr\n");
        assert_eq!(tail(&log), "  out\n  err");
    }

    #[test]
    fn a_paused_child_hears_the_request_to_stop() {
        let root = tempfile::tempdir().unwrap();
        let log = root.path().join("x.log");
        let mut child = shell("echo up; exec sleep 1000", &log);
        wait_for_line(&log);
        child.signal(Signal::STOP);
        child.ask_to_stop();
        assert_eq!(described(wait(&mut child)), "signal 15");
    }

    #[test]
    fn a_dropped_child_is_dead_and_reaped() {
        let root = tempfile::tempdir().unwrap();
        let log = root.path().join("x.log");
        let child = shell("trap '' TERM; echo up; while :; do sleep 1; done", &log);
        wait_for_line(&log);
        let pid = Pid::from_raw(i32::try_from(child.pid()).unwrap()).unwrap();
        drop(child);
        assert_eq!(
            rustix::process::test_kill_process(pid),
            Err(rustix::io::Errno::SRCH)
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_child_dies_with_the_thread_that_spawned_it() {
        let root = tempfile::tempdir().unwrap();
        let log = root.path().join("x.log");
        let path = log.clone();
        let spawner = std::thread::spawn(move || {
            let child = shell("echo up; exec sleep 1000", &path);
            wait_for_line(&path);
            child
        });
        let mut child = spawner.join().unwrap();
        assert_eq!(described(wait(&mut child)), "signal 9");
    }

    #[test]
    fn settings_in_the_environment_do_not_reach_the_child() {
        assert!(is_setting(&"CAIRN_API".into()));
        assert!(!is_setting(&"RUST_LOG".into()));
        assert!(!is_setting(&"PATH".into()));
    }
}
