//! Server-sent events, read as they pass: the stream itself is never copied, cut or written anew.
//!
//! [`EventReader`] finds where events begin and end and keeps a few bytes of state, whatever passes through it.
//! [`EventCollector`] also keeps what is needed to look into each [`Event`].
//!
//! What an event is follows the [WHATWG standard](https://html.spec.whatwg.org/multipage/server-sent-events.html):
//! lines end with `\n`, `\r\n` or `\r`; a blank line ends an event; one without a `data` line is none; what is
//! unfinished at the end of the stream is none.

mod collector;
mod event;
mod reader;
#[cfg(test)]
mod tests;

pub use self::{
    collector::{EventCollector, EventTooLarge},
    event::{Event, Fields},
    reader::EventReader,
};
