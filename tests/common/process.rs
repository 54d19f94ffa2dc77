//! Other processes: this program once more, which runs one of its tests.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

const TASK: &str = "AGENT_SESSION_STORE_TEST_TASK";

/// This program once more, to run one test of it as a process of its own.
pub fn child<F: Fn()>(_: F, task: &str) -> Command {
    // The harness names a test by its path below the crate.
    let (_, test) = std::any::type_name::<F>().split_once("::").unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(TASK, task);
    command
}

/// What the child is to do, in its parts; nothing if this process is none.
pub fn task() -> Option<Vec<String>> {
    Some(std::env::var(TASK).ok()?.split('|').map(str::to_owned).collect())
}

/// In a child: a line for the parent, in one piece, and gone from this process before the next call.
pub fn say(line: &str) {
    // The harness may have begun a line.
    std::io::stdout().lock().write_all(format!("\n{line}\n").as_bytes()).unwrap();
}

/// In a child: until the parent gives a sign, closes the pipe, or kills this process.
pub fn wait() {
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// Runs a child to its end, and returns what it has written.
pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_has_run(&text);
    text
}

/// A name that no test has would be a success as well.
fn assert_has_run(text: &str) {
    assert!(text.contains("test result: ok. 1 passed"), "{text}");
}

/// A child at work. It is killed if the test forgets it.
pub struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (heard, lines) = channel();
        // It never waits for the test to listen.
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| heard.send(line)));
        Self { child, lines }
    }

    /// The lines that it says from now on.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        self.lines.iter()
    }

    pub fn wait_for(&self, line: &str) {
        assert!(self.lines().any(|said| said == line), "it never said {line}");
    }

    pub fn give_sign(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Closes its input, and returns what it says until it ends well.
    pub fn end(mut self) -> Vec<String> {
        drop(self.child.stdin.take());
        let said: Vec<String> = self.lines().collect();
        let text = said.join("\n");
        assert!(self.child.wait().unwrap().success(), "{text}");
        assert_has_run(&text);
        said
    }

    /// Kills it, and returns what it had said by then.
    pub fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        let said = self.lines().collect();
        self.child.wait().unwrap();
        said
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Does nothing by itself; the test below runs it in a process of its own.
#[test]
fn a_child() {
    let Some(task) = task() else { return };
    say(&task.join(" and "));
    wait();
}

#[test]
fn a_child_runs_the_test_that_it_is_given() {
    let mut process = Process::start(child(a_child, "one|two"));
    process.wait_for("one and two");
    assert!(process.is_running());
    process.end();
}
