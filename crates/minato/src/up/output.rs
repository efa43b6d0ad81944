//! What a program writes: heard line by line, and the last lines kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use minato_host::sync::lock;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::logs::LONGEST_LINE;

/// How long what a program has written last is waited for.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// How many of its last lines are kept.
const KEPT: usize = 8;

/// The reading end of a program's output.
pub(super) struct Output {
    reader: JoinHandle<()>,
    last: Arc<Mutex<VecDeque<String>>>,
}

impl Output {
    /// Has each line heard, for as long as anybody has the other end open.
    pub(super) fn of(reader: pipe::Receiver, hear: impl Fn(String) + Send + 'static) -> Output {
        let last = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&last);
        let reader = tokio::spawn(async move {
            let mut reader = BufReader::new(reader);
            while let Some(text) = next_line(&mut reader).await {
                let mut last = lock(&kept);
                last.push_back(text.clone());
                if last.len() > KEPT {
                    last.pop_front();
                }
                drop(last);
                hear(text);
            }
        });
        Output { reader, last }
    }

    /// Waits a moment for the last lines of a program that has ended; others may still have its output open, and go on
    /// being heard.
    pub(super) async fn finish(&mut self) -> Vec<String> {
        let _ = timeout(LAST_WORDS, &mut self.reader).await;
        lock(&self.last).iter().cloned().collect()
    }

    /// The same, and hears nobody any more.
    pub(super) async fn close(mut self) -> Vec<String> {
        let last = self.finish().await;
        self.reader.abort();
        last
    }
}

/// The next line without its end, or as much of it as a line may have; `None` at the end of the output.
async fn next_line(reader: &mut BufReader<pipe::Receiver>) -> Option<String> {
    let mut line = Vec::new();
    let read = reader.take(LONGEST_LINE as u64).read_until(b'\n', &mut line).await;
    if read.is_err() || line.is_empty() {
        return None;
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Some(String::from_utf8_lossy(&line).into_owned())
}
