//! One setting: its name, its bounds, and how it is read from text. A table of these drives URL parameters,
//! maps of settings, validation, and the table in the documentation.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::{SHARED, Settings, refuse, units};
use crate::error::Result;

/// A setting of a configuration `C`.
pub(super) struct Setting<C: 'static> {
    /// The name of its setter.
    pub(super) name: &'static str,
    /// A shorter name, which URLs and maps take as well.
    pub(super) short: Option<&'static str>,
    pub(super) kind: Kind<C>,
}

/// What a setting takes. A range that ends with the type's largest value has no upper bound.
pub(super) enum Kind<C: 'static> {
    Number(RangeInclusive<usize>, Field<C, usize>),
    Size(RangeInclusive<usize>, Field<C, usize>),
    /// A size, or `off`, which is `None`.
    SizeOrOff(RangeInclusive<usize>, Field<C, Option<usize>>),
    Time(RangeInclusive<Duration>, Field<C, Duration>),
    Text(Text, Field<C, String>),
    /// One of these words, by its place.
    Word(&'static [&'static str], Field<C, usize>),
}

/// Where a configuration keeps a setting.
pub(super) struct Field<C, T> {
    /// `None` where it is not set.
    pub(super) get: fn(&C) -> Option<T>,
    pub(super) set: fn(&mut C, T),
}

/// Which texts a setting takes.
pub(super) struct Text {
    /// The rule, as an error says it.
    pub(super) rule: &'static str,
    pub(super) holds: fn(&str) -> bool,
}

/// A [`Field`] of that name, or one that may be absent.
macro_rules! field {
    ($name:ident) => {
        Field {
            get: |config| Some(config.$name),
            set: |config, value| config.$name = value,
        }
    };
    ($name:ident?) => {
        Field {
            get: |config| config.$name.clone(),
            set: |config, value| config.$name = Some(value),
        }
    };
}

pub(super) use field;

/// How text switches something off.
pub(super) const OFF: &str = "off";
/// The timer's grain: no shorter time can be waited for.
pub(super) const GRAIN: Duration = Duration::from_millis(1);
/// The shortest time that is over zero.
pub(super) const OVER_ZERO: Duration = Duration::from_nanos(1);

impl<C> Setting<C> {
    pub(super) const fn new(name: &'static str, kind: Kind<C>) -> Self {
        let short = None;
        Self { name, short, kind }
    }

    pub(super) const fn or(mut self, short: &'static str) -> Self {
        self.short = Some(short);
        self
    }

    /// Refuses what a setter was given, if it is out of bounds.
    pub(super) fn check(&self, config: &C) -> Result<()> {
        let holds = match &self.kind {
            Kind::Number(range, field) | Kind::Size(range, field) => {
                (field.get)(config).is_none_or(|value| range.contains(&value))
            }
            Kind::SizeOrOff(range, field) => (field.get)(config)
                .flatten()
                .is_none_or(|bytes| range.contains(&bytes)),
            Kind::Time(range, field) => (field.get)(config).is_none_or(|time| range.contains(&time)),
            Kind::Text(text, field) => (field.get)(config).is_none_or(|value| (text.holds)(&value)),
            Kind::Word(..) => true,
        };
        if holds { Ok(()) } else { self.refused() }
    }

    /// Sets what `text` says. The error never repeats the text.
    pub(super) fn apply(&self, config: &mut C, text: &str) -> Result<()> {
        let applied = match &self.kind {
            Kind::Number(range, field) => units::number(text)
                .filter(|number| range.contains(number))
                .map(|number| (field.set)(config, number)),
            Kind::Size(range, field) => units::size(text)
                .filter(|bytes| range.contains(bytes))
                .map(|bytes| (field.set)(config, bytes)),
            Kind::SizeOrOff(_, field) if text == OFF => {
                (field.set)(config, None);
                Some(())
            }
            Kind::SizeOrOff(range, field) => units::size(text)
                .filter(|bytes| range.contains(bytes))
                .map(|bytes| (field.set)(config, Some(bytes))),
            Kind::Time(range, field) => units::time(text)
                .filter(|time| range.contains(time))
                .map(|time| (field.set)(config, time)),
            Kind::Text(rule, field) => (rule.holds)(text).then(|| (field.set)(config, text.to_owned())),
            Kind::Word(words, field) => words
                .iter()
                .position(|word| *word == text)
                .map(|place| (field.set)(config, place)),
        };
        applied.map_or_else(|| self.refused(), Ok)
    }

    fn refused<T>(&self) -> Result<T> {
        let example = match self.kind {
            Kind::Size(..) | Kind::SizeOrOff(..) => ", such as 4096, 16KiB, 64MiB or 1GiB",
            Kind::Time(..) => ", such as 200ms, 5s, 1m, 2h or 1d",
            _ => "",
        };
        refuse(format!("{} must be {}{example}", self.name, self.takes()))
    }

    /// What it takes, for an error and for the documentation.
    pub(super) fn takes(&self) -> String {
        match &self.kind {
            Kind::Number(range, _) => match (range.start(), range.end()) {
                (least, &usize::MAX) => format!("a number of at least {least}"),
                (least, most) => format!("a number from {least} to {most}"),
            },
            Kind::Size(range, _) => size_in(range),
            Kind::SizeOrOff(range, _) => format!("{OFF} or {}", size_in(range)),
            Kind::Time(range, _) => {
                let (least, most) = (*range.start(), *range.end());
                let shown = units::time_shown;
                match (least == OVER_ZERO, most == Duration::MAX) {
                    _ if least.is_zero() => format!("a time of at most {}", shown(most)),
                    (true, true) => "a time over zero".to_owned(),
                    (true, false) => format!("a time over zero and at most {}", shown(most)),
                    (false, true) => format!("a time of at least {}", shown(least)),
                    (false, false) => format!("a time from {} to {}", shown(least), shown(most)),
                }
            }
            Kind::Text(text, _) => text.rule.to_owned(),
            Kind::Word(words, _) => words.join(" or "),
        }
    }

    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.short == Some(name)
    }
}

fn size_in(range: &RangeInclusive<usize>) -> String {
    match (range.start(), range.end()) {
        (least, &usize::MAX) => format!("a size of at least {least} byte"),
        (least, most) => format!("a size from {least} to {most} bytes"),
    }
}

/// Sets what a URL or a map gives by name: settings that all engines share, and those of one engine.
pub(super) fn apply<C>(
    given: &[(String, String)],
    shared: &mut Settings,
    own: &mut C,
    table: &'static [Setting<C>],
) -> Result<()> {
    let mut seen: Vec<&'static str> = Vec::new();
    for (name, text) in given {
        let name = if let Some(setting) = SHARED.iter().find(|setting| setting.is_called(name)) {
            setting.apply(shared, text)?;
            setting.name
        } else if let Some(setting) = table.iter().find(|setting| setting.is_called(name)) {
            setting.apply(own, text)?;
            setting.name
        } else {
            let names = names(SHARED).chain(names(table)).collect::<Vec<_>>().join(", ");
            return refuse(format!("a setting is not known: this engine has {names}"));
        };
        if seen.contains(&name) {
            return refuse(format!("{name} is given twice"));
        }
        seen.push(name);
    }
    Ok(())
}

/// The name by which a URL is shown to call each of them.
fn names<C>(table: &'static [Setting<C>]) -> impl Iterator<Item = &'static str> {
    table.iter().map(|setting| setting.short.unwrap_or(setting.name))
}

/// Refuses the first setting that is out of bounds.
pub(super) fn check<C>(config: &C, table: &'static [Setting<C>]) -> Result<()> {
    table.iter().try_for_each(|setting| setting.check(config))
}
