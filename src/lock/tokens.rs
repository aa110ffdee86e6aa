//! The highest fencing token that this process has seen of each lock. It is sent along with each question for the
//! lock, so that a server that has lost its own memory gives a higher one. Pure.

use super::name::Name;
use crate::prehashed::Map;

/// The tokens of at least so many locks are remembered, and of twice as many at most.
const FEW: usize = 16_384;

/// Tokens by the hash of their lock's key. Two keys of one hash share the higher token, which does no harm: it is
/// only a bound for the next one.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// What was seen since the last turn.
    young: Map<u64, u64>,
    /// What was seen before. It goes when the young ones are too many.
    old: Map<u64, u64>,
}

impl Tokens {
    pub(super) fn saw(&mut self, name: &Name, token: u64) {
        let token = token.max(self.highest(name));
        if self.young.len() >= FEW && !self.young.contains_key(&name.key().hash()) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name.key().hash(), token);
    }

    /// The highest token seen, or zero.
    pub(super) fn highest(&self, name: &Name) -> u64 {
        let hash = name.key().hash();
        let tokens = self.young.get(&hash).into_iter().chain(self.old.get(&hash));
        tokens.copied().max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::name::named;

    #[test]
    fn the_highest_is_kept_of_those_in_use_and_no_more_than_so_many() {
        let mut tokens = Tokens::default();
        let used = named("used");
        for n in 0..5 * FEW as u64 {
            tokens.saw(&named(&format!("k{n}")), n);
            if n % 1000 == 0 {
                tokens.saw(&used, 1_000_000 - n);
            }
            assert!(tokens.young.len() + tokens.old.len() <= 2 * FEW);
        }
        assert_eq!(tokens.highest(&used), 1_000_000);
        assert_eq!(tokens.highest(&named("k0")), 0, "nobody used it lately");
    }
}
