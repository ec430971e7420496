//! The restricted linear program: given ways of filling a node, how often to use each so that every demand is covered at
//! the least cost. Revised simplex over an explicit inverse, in fixed point.
//!
//! Fixed point makes it the same on every machine; it also makes it inexact. Nothing relies on its numbers being right:
//! they are prices and proportions that guide the search.

use super::Budget;
use super::instance::{FRACTION, ONE};

/// A way of covering demand: cost in fixed point, and what it adds to each row.
pub struct Column {
    pub price: i64,
    pub entries: Vec<(usize, i64)>,
}

pub struct Master {
    rows: usize,
    demand: Vec<i64>,
    /// First the surplus of each row, then one column that covers only this row, then those that were added.
    columns: Vec<Column>,
    basis: Vec<usize>,
    in_basis: Vec<bool>,
    inverse: Vec<Vec<i64>>,
    amounts: Vec<i64>,
    prices: Vec<i64>,
    pivots: usize,
}

/// A column has to promise at least this much, about one part in a million of the dearest node.
const GAIN: i64 = ONE >> 20;
/// What is smaller is rounding.
const SMALL: i64 = ONE >> 18;

impl Master {
    /// For each row its demand and a column that covers this row alone: price, and how much of it.
    pub fn new(rows: impl IntoIterator<Item = (u32, i64, u32)>) -> Self {
        let (mut demand, mut alone) = (Vec::new(), Vec::new());
        for (row, (count, price, covered)) in rows.into_iter().enumerate() {
            // Unequal by a trifle, so that ties between rows are rare and the simplex method does not turn in circles.
            demand.push((i64::from(count) << FRACTION) + i64::try_from(row * 7919 % 1024).unwrap_or(0) * (ONE >> 28));
            alone.push(Column {
                price,
                entries: vec![(row, i64::from(covered))],
            });
        }
        let rows = demand.len();
        let surplus = (0..rows).map(|row| Column {
            price: 0,
            entries: vec![(row, -1)],
        });
        let mut master = Self {
            rows,
            demand,
            columns: surplus.chain(alone).collect(),
            basis: (rows..2 * rows).collect(),
            in_basis: (0..2 * rows).map(|column| column >= rows).collect(),
            inverse: Vec::new(),
            amounts: Vec::new(),
            prices: Vec::new(),
            pivots: 0,
        };
        master.inverse = (0..rows)
            .map(|row| {
                let mut of_row = vec![0; rows];
                of_row[row] = ONE / master.columns[rows + row].entries[0].1;
                of_row
            })
            .collect();
        master.refresh();
        master
    }

    /// The columns of the first two kinds, before those that are added.
    pub fn given(&self) -> usize {
        2 * self.rows
    }

    pub fn add(&mut self, column: Column) {
        self.columns.push(column);
        self.in_basis.push(false);
    }

    /// What one more of each row's demand costs.
    pub fn prices(&self) -> &[i64] {
        &self.prices
    }

    /// The columns in use and how often, in fixed point.
    pub fn amounts(&self) -> impl Iterator<Item = (usize, i64)> {
        self.basis.iter().copied().zip(self.amounts.iter().copied())
    }

    /// To the optimum, or until the budget is spent.
    pub fn optimise(&mut self, budget: &mut Budget) {
        let mut left = 20 * self.rows + 1000;
        while let Some(entering) = self.entering() {
            let direction = self.direction(entering);
            let Some(leaving) = self.leaving(&direction) else {
                return;
            };
            let changed = self.pivot(entering, leaving, &direction);
            budget.spend(changed + self.columns.len() as u64);
            self.pivots += 1;
            if self.pivots > self.rows + 100 {
                budget.spend((self.rows * self.rows) as u64);
                self.rebuild();
            }
            left -= 1;
            if left == 0 || budget.spent() {
                return;
            }
        }
    }

    /// The column that promises most; the first of equals.
    fn entering(&self) -> Option<usize> {
        (0..self.columns.len())
            .filter(|&at| !self.in_basis[at])
            .map(|at| (self.reduced(at), at))
            .min()
            .filter(|&(reduced, _)| reduced < -GAIN)
            .map(|(_, at)| at)
    }

    fn reduced(&self, at: usize) -> i64 {
        let column = &self.columns[at];
        let covered = column
            .entries
            .iter()
            .map(|&(row, amount)| self.prices[row].saturating_mul(amount));
        covered.fold(column.price, i64::saturating_sub)
    }

    /// What each basic column gives up for one of this column.
    fn direction(&self, at: usize) -> Vec<i64> {
        let entries = &self.columns[at].entries;
        let given_up = |of_row: &Vec<i64>| {
            let sum = entries
                .iter()
                .map(|&(row, amount)| i128::from(of_row[row]) * i128::from(amount))
                .sum();
            clamped(sum)
        };
        self.inverse.iter().map(given_up).collect()
    }

    /// The basic column that is used up first; of equals the one that is given up fastest, for accuracy.
    fn leaving(&self, direction: &[i64]) -> Option<usize> {
        let mut best: Option<usize> = None;
        for row in (0..self.rows).filter(|&row| direction[row] > SMALL) {
            let sooner = best.is_none_or(|best| {
                let (mine, theirs) = (
                    i128::from(self.amounts[row].max(0)) * i128::from(direction[best]),
                    i128::from(self.amounts[best].max(0)) * i128::from(direction[row]),
                );
                mine < theirs || (mine == theirs && direction[row] > direction[best])
            });
            if sooner {
                best = Some(row);
            }
        }
        best
    }

    /// Returns how many numbers were changed.
    fn pivot(&mut self, entering: usize, leaving: usize, direction: &[i64]) -> u64 {
        let reduced = self.reduced(entering);
        let by = direction[leaving];
        let mut row = std::mem::take(&mut self.inverse[leaving]);
        let amount = divided(self.amounts[leaving].max(0), by);
        let mut filled = Vec::new();
        for (at, number) in row.iter_mut().enumerate() {
            if *number != 0 {
                *number = divided(*number, by);
                filled.push((at, *number));
            }
        }
        let mut changed = 0;
        for (other, of_row) in self.inverse.iter_mut().enumerate() {
            let factor = direction[other];
            if other == leaving || factor == 0 {
                continue;
            }
            for &(at, number) in &filled {
                of_row[at] = of_row[at].saturating_sub(times(factor, number));
            }
            self.amounts[other] = self.amounts[other].saturating_sub(times(factor, amount));
            changed += filled.len() as u64;
        }
        for &(at, number) in &filled {
            self.prices[at] = self.prices[at].saturating_add(times(reduced, number));
        }
        self.inverse[leaving] = row;
        self.amounts[leaving] = amount;
        self.in_basis[self.basis[leaving]] = false;
        self.in_basis[entering] = true;
        self.basis[leaving] = entering;
        changed
    }

    /// The inverse from the columns of the basis, without the rounding that has gathered in it.
    fn rebuild(&mut self) {
        let basis = std::mem::take(&mut self.basis);
        self.inverse = (0..self.rows)
            .map(|row| (0..self.rows).map(|at| if at == row { ONE } else { 0 }).collect())
            .collect();
        self.amounts = vec![0; self.rows];
        self.prices = vec![0; self.rows];
        self.basis = vec![usize::MAX; self.rows];
        let alone: Vec<usize> = (self.rows..2 * self.rows).collect();
        for (at, candidates) in [basis, alone].iter().enumerate() {
            for &column in candidates {
                let direction = self.direction(column);
                // A column of the old basis goes where it is largest; a row that none of them took covers itself.
                let row = if at == 0 {
                    (0..self.rows)
                        .filter(|&row| self.basis[row] == usize::MAX)
                        .max_by_key(|&row| (direction[row].abs(), std::cmp::Reverse(row)))
                        .filter(|&row| direction[row].abs() > SMALL)
                } else {
                    Some(column - self.rows).filter(|&row| self.basis[row] == usize::MAX)
                };
                if let Some(row) = row {
                    self.place(column, row, &direction);
                }
            }
        }
        self.in_basis = (0..self.columns.len()).map(|_| false).collect();
        for &column in &self.basis {
            self.in_basis[column] = true;
        }
        self.refresh();
    }

    fn place(&mut self, column: usize, row: usize, direction: &[i64]) {
        let by = direction[row];
        let mut own = std::mem::take(&mut self.inverse[row]);
        for number in &mut own {
            *number = divided(*number, by);
        }
        for (other, of_row) in self.inverse.iter_mut().enumerate() {
            if other != row && direction[other] != 0 {
                for (number, own) in of_row.iter_mut().zip(&own) {
                    if *own != 0 {
                        *number = number.saturating_sub(times(direction[other], *own));
                    }
                }
            }
        }
        self.inverse[row] = own;
        self.basis[row] = column;
    }

    /// Amounts and prices from the inverse.
    fn refresh(&mut self) {
        self.pivots = 0;
        let fixed = |sum: i128| clamped(sum >> FRACTION);
        self.amounts = self
            .inverse
            .iter()
            .map(|of_row| {
                let sum = of_row
                    .iter()
                    .zip(&self.demand)
                    .map(|(a, b)| i128::from(*a) * i128::from(*b))
                    .sum();
                fixed(sum)
            })
            .collect();
        self.prices = (0..self.rows)
            .map(|at| {
                let rows = self.inverse.iter().zip(&self.basis);
                let sum = rows
                    .map(|(of_row, &column)| i128::from(of_row[at]) * i128::from(self.columns[column].price))
                    .sum();
                fixed(sum)
            })
            .collect();
    }
}

fn times(a: i64, b: i64) -> i64 {
    clamped((i128::from(a) * i128::from(b) + i128::from(ONE / 2)) >> FRACTION)
}

fn divided(a: i64, by: i64) -> i64 {
    clamped((i128::from(a) << FRACTION) / i128::from(by))
}

fn clamped(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(if number < 0 { i64::MIN / 2 } else { i64::MAX / 2 })
}
