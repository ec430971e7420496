//! What happens when. What falls on one second happens in a fixed order: room is given back before it is asked for.

use std::collections::BTreeSet;

/// In the order of one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Happening {
    /// The end of an incident, by its number.
    Over(usize),
    /// The end of a stay.
    Cancel(u64),
    /// A look at what is used.
    Measure,
    /// Prices, written requests, and certificates that can be mended.
    Review,
    /// A new search for those who stand still.
    Retry,
    /// An event of the scenario, by its position.
    Scripted(usize),
    /// A failure by chance.
    Chance,
    /// An order of a stream, by its position.
    Order(usize),
    /// A point of the report's curves.
    Sample,
}

#[derive(Debug, Default)]
pub struct Agenda {
    entries: BTreeSet<(i64, Happening, u64)>,
    written: u64,
}

impl Agenda {
    pub fn put(&mut self, at: i64, happening: Happening) {
        self.written += 1;
        self.entries.insert((at, happening, self.written));
    }

    pub fn next(&mut self) -> Option<(i64, Happening)> {
        self.entries.pop_first().map(|(at, happening, _)| (at, happening))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_first_then_the_order_of_one_second() {
        let mut agenda = Agenda::default();
        for (at, happening) in [
            (5, Happening::Sample),
            (5, Happening::Order(0)),
            (5, Happening::Over(3)),
            (1, Happening::Sample),
            (5, Happening::Scripted(1)),
            (5, Happening::Scripted(0)),
        ] {
            agenda.put(at, happening);
        }
        let order: Vec<(i64, Happening)> = std::iter::from_fn(|| agenda.next()).collect();
        assert_eq!(
            order,
            [
                (1, Happening::Sample),
                (5, Happening::Over(3)),
                (5, Happening::Scripted(0)),
                (5, Happening::Scripted(1)),
                (5, Happening::Order(0)),
                (5, Happening::Sample),
            ]
        );
    }
}
