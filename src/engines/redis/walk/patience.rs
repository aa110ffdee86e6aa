//! How long a walk goes on while it removes nothing: a server that tells of more and more is not asked for ever.

use super::Unexpected;

/// The most steps in a row that remove nothing and get no further. So many steps look at 250 million members of a set, or at
/// a thousand million keys.
const STANDSTILL: u32 = 1 << 20;
/// The most steps in a row that remove nothing, also if each of them gets further.
const FRUITLESS: u32 = 16 * STANDSTILL;

#[derive(Debug, Default)]
pub(super) struct Patience {
    standing: u32,
    fruitless: u32,
}

impl Patience {
    /// Takes in a step: how many entries it removed, and whether it got further in another way.
    pub(super) fn step(&mut self, removed: u64, gets_on: bool) -> Result<(), Unexpected> {
        if removed > 0 {
            *self = Self::default();
            return Ok(());
        }
        self.standing = if gets_on { 0 } else { self.standing + 1 };
        self.fruitless += 1;
        if self.standing > STANDSTILL || self.fruitless > FRUITLESS {
            return Err(Unexpected);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many steps like this one a walk ends, if it removes something in the one with this number.
    fn ends_after(gets_on: bool, fruit: u64) -> u64 {
        let mut patience = Patience::default();
        let ends = |step: &u64| patience.step(u64::from(*step == fruit), gets_on).is_err();
        (1..100_000_000).find(ends).unwrap()
    }

    #[test]
    fn new_names_alone_keep_a_walk_going_for_long_but_not_for_ever() {
        let (standstill, fruitless) = (u64::from(STANDSTILL), u64::from(FRUITLESS));
        assert_eq!(ends_after(false, 0), standstill + 1);
        assert_eq!(ends_after(true, 0), fruitless + 1);
        assert_eq!(ends_after(false, 1000), 1000 + standstill + 1);
        assert_eq!(ends_after(true, 1000), 1000 + fruitless + 1);
    }
}
