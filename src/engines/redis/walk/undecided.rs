//! Names whose members alone do not tell whether they lead to something that lives: all of these are dead, and some
//! have dependents of their own.

use std::collections::{HashMap, HashSet};

use redis::Value as Wire;

use super::{Unexpected, cost, count};

/// The most names that one step decides about, and the most bytes of them, but for a name that is longer by itself.
const NAMES: usize = 500;
const BYTES: usize = 256 * 1024;

type Name = Vec<u8>;

/// They are gathered with the members that decide. Then they are decided about one after the other, those below
/// first: a name whose members are gone has none left.
#[derive(Debug, Default)]
pub(super) struct Undecided {
    below: HashMap<Name, Vec<Name>>,
    /// The last comes first.
    order: Vec<Name>,
    /// What all names have cost that were told of.
    held: usize,
}

impl Undecided {
    /// Takes in what a step tells: each name, how many members decide about it, and these.
    pub(super) fn add(&mut self, told: Wire) -> Result<(), Unexpected> {
        let Wire::Array(told) = told else {
            return Err(Unexpected);
        };
        let mut told = told.into_iter();
        while let Some(name) = told.next() {
            let members = count(&told.next().ok_or(Unexpected)?)?;
            let name = text(name)?;
            self.held += 2 * cost(&name);
            let below = self.below.entry(name).or_default();
            for _ in 0..members {
                let member = text(told.next().ok_or(Unexpected)?)?;
                self.held += cost(&member);
                below.push(member);
            }
        }
        Ok(())
    }

    /// What is held, in bytes.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Ends the gathering, and puts those below before those above. Returns `true` if there are any.
    pub(super) fn sort(&mut self) -> bool {
        let below = std::mem::take(&mut self.below);
        let mut seen = HashSet::new();
        for name in below.keys() {
            // Each with how many of its members have been gone into.
            let mut path = Vec::new();
            if seen.insert(name) {
                path.push((name, 0));
            }
            while let Some((name, at)) = path.last_mut() {
                let next = below.get(*name).and_then(|members| members.get(*at));
                *at += 1;
                match next {
                    Some(member) if below.contains_key(member) && seen.insert(member) => {
                        path.push((member, 0));
                    }
                    Some(_) => {}
                    None => {
                        self.order.push((*name).clone());
                        path.pop();
                    }
                }
            }
        }
        self.order.reverse();
        !self.order.is_empty()
    }

    /// Those that the next step decides about.
    pub(super) fn next(&self) -> impl Iterator<Item = &[u8]> {
        let mut bytes = 0;
        let fits = move |(at, name): &(usize, &Name)| {
            bytes += name.len();
            *at == 0 || bytes <= BYTES
        };
        let next = self.order.iter().rev().take(NAMES).enumerate().take_while(fits);
        next.map(|(_, name)| name.as_slice())
    }

    /// Forgets so many of them: they have been decided about. Returns `true` if there are more.
    pub(super) fn take(&mut self, count: u64) -> Result<bool, Unexpected> {
        let count = usize::try_from(count).map_err(|_| Unexpected)?;
        let left = self.order.len().checked_sub(count).filter(|_| count > 0);
        self.order.truncate(left.ok_or(Unexpected)?);
        Ok(!self.order.is_empty())
    }
}

fn text(value: Wire) -> Result<Name, Unexpected> {
    match value {
        Wire::BulkString(name) => Ok(name),
        _ => Err(Unexpected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(names: &[(&str, &[&str])]) -> Wire {
        let text = |text: &str| Wire::BulkString(text.as_bytes().to_vec());
        let mut told = Vec::new();
        for (name, members) in names {
            told.extend([text(name), Wire::Int(members.len() as i64)]);
            told.extend(members.iter().map(|member| text(member)));
        }
        Wire::Array(told)
    }

    fn next(undecided: &Undecided) -> Vec<String> {
        let text = |name: &[u8]| String::from_utf8(name.to_vec()).unwrap();
        undecided.next().map(text).collect()
    }

    #[test]
    fn those_below_come_first_and_cycles_end() {
        let mut undecided = Undecided::default();
        undecided.add(told(&[("a", &["b"]), ("c", &["d", "a"])])).unwrap();
        undecided
            .add(told(&[("b", &["c", "gone"]), ("x", &["a"])]))
            .unwrap();
        assert!(undecided.sort());
        let mut order = next(&undecided);
        let place = |name: &str| order.iter().position(|each| each == name);
        assert!(place("x") > place("a"));
        order.sort();
        assert_eq!(order, ["a", "b", "c", "x"]);
    }

    #[test]
    fn a_chain_is_decided_about_from_its_end_step_by_step() {
        let mut undecided = Undecided::default();
        for n in (0..1200).rev() {
            let (name, below) = (format!("n{n}"), format!("n{}", n + 1));
            undecided.add(told(&[(&name, &[&below])])).unwrap();
        }
        assert!(undecided.sort());
        let first = next(&undecided);
        assert_eq!(
            (first.len(), first[0].as_str(), first[1].as_str()),
            (500, "n1199", "n1198")
        );
        assert_eq!(undecided.take(700), Ok(true));
        assert_eq!(next(&undecided)[0], "n499");
        assert_eq!(
            undecided.take(0),
            Err(Unexpected),
            "no step decides about nothing"
        );
        assert_eq!(undecided.take(501), Err(Unexpected));
        assert_eq!(undecided.take(500), Ok(false));
    }

    #[test]
    fn what_is_cut_short_is_unexpected() {
        let text = Wire::BulkString(b"a".to_vec());
        for told in [vec![text.clone()], vec![text, Wire::Int(1)], vec![Wire::Int(1)]] {
            assert_eq!(Undecided::default().add(Wire::Array(told)), Err(Unexpected));
        }
    }
}
