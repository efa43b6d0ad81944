//! What happens in a network, as its engine tells it.

use hyper::Method;
use minato_inspect::Event;

use super::lines::Lines;
use super::{Client, RequestError};

/// The stream of events.
#[derive(Debug)]
pub(crate) struct Happenings {
    lines: Lines,
}

impl Client {
    /// Subscribes to what happens from now on.
    pub(crate) async fn happenings(&self) -> Result<Happenings, RequestError> {
        let exchange = self.send(Method::GET, "/v1/events", String::new()).await?;
        Ok(Happenings { lines: Lines::of(exchange) })
    }
}

impl Happenings {
    /// The next event; `None` when the engine has ended the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, RequestError> {
        while let Some(line) = self.lines.next().await? {
            // Each event is one line of data; everything else is comments and fields that we don't need.
            if let Some(data) = line.strip_prefix(b"data:") {
                return match serde_json::from_slice(data) {
                    Ok(event) => Ok(Some(event)),
                    Err(error) => Err(RequestError::Nonsense(error.to_string())),
                };
            }
        }
        Ok(None)
    }
}
