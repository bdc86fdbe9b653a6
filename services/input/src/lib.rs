//! What a program is given when it starts: the words of its command line and the
//! files that they name, each no longer than may be. The programs of Berth have it
//! in common, the agent too.
//!
//! Deliberately absent: what words and files mean, which differs.

pub mod arguments;
pub mod file;
