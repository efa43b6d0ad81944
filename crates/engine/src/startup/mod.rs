//! What an engine does before it serves.

pub(crate) mod directory;
pub(crate) mod ready;
pub(crate) mod subnet;
