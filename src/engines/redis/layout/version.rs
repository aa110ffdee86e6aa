//! The version of a layout, which the database keeps.

use redis::{Cmd, Value as Wire};

use super::Layout;
use crate::error::{Error, Result};

/// The version that this layout has. A change that another version would misread takes the next number.
pub(super) const VERSION: &str = "1";
/// The version of the layout of a store that is spread over the slots of a cluster.
pub(super) const SPREAD: &str = "2";

impl Layout {
    /// Commands that note the layout's version where the database has none, and read it, last. A store that shares
    /// its keys with go-cachestore only reads it.
    pub(in crate::engines::redis) fn ask_version(&self) -> Vec<Cmd> {
        let mut note = redis::cmd("SET");
        note.arg(&self.0.version).arg(self.wanted()).arg("NX");
        let mut ask = redis::cmd("GET");
        ask.arg(&self.0.version);
        if self.0.close.is_empty() {
            vec![ask]
        } else {
            vec![note, ask]
        }
    }

    /// Refuses a database whose layout has another version. A server that does not tell it, or that has none because it
    /// takes no writes, is not refused.
    pub(in crate::engines::redis) fn check_version(&self, reply: &Wire) -> Result<()> {
        let Wire::BulkString(found) = reply else {
            return Ok(());
        };
        let wanted = self.wanted();
        if found == wanted.as_bytes() {
            return Ok(());
        }
        // Somebody else may have written it.
        let is_number = (1..=9).contains(&found.len()) && found.iter().all(u8::is_ascii_digit);
        let found = match std::str::from_utf8(found) {
            Ok(number) if is_number => number,
            _ => "of an unknown form",
        };
        let hint = match (self.0.is_spread, found) {
            (true, VERSION) => " for a cluster without a hash tag (1 is that of stores on one node)",
            (false, SPREAD) => " for stores on one node (2 is that of clusters without a hash tag)",
            _ => "",
        };
        Err(Error::InvalidConfig {
            reason: format!(
                "the database's keys have layout version {found}, this version of cachestore has {wanted}{hint}: \
                 use another database, or the same version in all processes"
            ),
        })
    }

    /// The version that the database must have.
    fn wanted(&self) -> &'static str {
        if self.0.is_spread { SPREAD } else { VERSION }
    }
}
