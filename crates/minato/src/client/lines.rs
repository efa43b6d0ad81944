//! Lines of an answer that goes on and on.

use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::{AbortOnDrop, Exchange, RequestError};

/// A body, line by line.
#[derive(Debug)]
pub(super) struct Lines {
    body: Incoming,
    buffer: Vec<u8>,
    _connection: AbortOnDrop,
}

impl Lines {
    pub(super) fn of(exchange: Exchange) -> Lines {
        let Exchange { response, _connection } = exchange;
        Lines { body: response.into_body(), buffer: Vec::new(), _connection }
    }

    /// The next line that is not empty; `None` when the stream has ended. What was received stays in the buffer when
    /// cancelled.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, RequestError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return Ok(Some(line));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.buffer.extend(frame.data_ref().into_iter().flatten()),
                Some(Err(error)) => return Err(RequestError::Gone(error.to_string())),
                None => return Ok(None),
            }
        }
    }
}
