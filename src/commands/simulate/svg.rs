//! The report as a picture: machines as rows over time, filled by what is requested of them, failures marked.
//!
//! Plain text written by hand; coordinates are whole tenths of a pixel, so that the same report is the same file. It
//! reads without a mouse; with one, a mark tells what happened.

mod fleet;
mod rows;

use std::fmt::Write as _;

use super::{
    report::Report,
    table::{reserve, verdict},
};

const WIDTH: i64 = 12_000;
const LEFT: i64 = 1_400;
const RIGHT: i64 = 11_700;
/// Where the curves of the fleet begin, and how high they are.
const FLEET_TOP: i64 = 1_350;
const FLEET_HEIGHT: i64 = 1_300;
const ROWS_TOP: i64 = FLEET_TOP + FLEET_HEIGHT + 500;
const DAY: i64 = 86_400;

const CPU: &str = "#2f6fb7";
const MEMORY: &str = "#e0912f";
const LOST: &str = "#c62828";
const REFUSED: &str = "#8e5bb5";
const INK: &str = "#22272e";
const FAINT: &str = "#6b7480";

pub fn draw(report: &Report) -> String {
    let row = rows::height(report.machines.len());
    let count = i64::try_from(report.machines.len()).unwrap_or(1);
    let bottom = ROWS_TOP + row * count;
    let height = bottom + 500;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{}\" height=\"{}\" \
         font-family=\"system-ui, sans-serif\" role=\"img\">",
        WIDTH / 10,
        height / 10
    );
    let _ = writeln!(out, "<title>{}</title>", escape(&report.scenario));
    out.push_str(&patterns());
    let _ = writeln!(out, "<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>");
    text(&mut out, (LEFT, 330), 220, INK, "start", &report.scenario);
    text(&mut out, (LEFT, 560), 130, INK, "start", &verdict(report));
    let policy = format!("Reserve: {}. Seed {}.", reserve(report), report.seed);
    text(&mut out, (LEFT, 750), 120, FAINT, "start", &policy);
    legend(&mut out);
    grid(&mut out, report, bottom);
    fleet::draw(&mut out, report);
    rows::draw(&mut out, report, row);
    out.push_str("</svg>\n");
    out
}

/// Hatchings: they stand out where colours do not.
fn patterns() -> String {
    let hatch = |id: &str, ground: &str, line: &str| {
        format!(
            "<pattern id=\"{id}\" width=\"60\" height=\"60\" patternUnits=\"userSpaceOnUse\" \
             patternTransform=\"rotate(45)\"><rect width=\"60\" height=\"60\" fill=\"{ground}\"/>\
             <rect width=\"18\" height=\"60\" fill=\"{line}\"/></pattern>"
        )
    };
    format!(
        "<defs>{}{}{}</defs>\n",
        hatch("down", "#e3e6ea", "#7d8793"),
        hatch("lost", "#f9d4d4", LOST),
        hatch("drain", "#f5ecc9", "#b3952c")
    )
}

fn legend(out: &mut String) {
    let entries = [
        (CPU, "CPU requested"),
        (MEMORY, "memory requested"),
        ("url(#down)", "down, absorbed"),
        ("url(#lost)", "down, pods stranded"),
        ("url(#drain)", "draining"),
        (LOST, "pods standing still"),
        (REFUSED, "orders refused"),
    ];
    let mut x = LEFT;
    for (fill, name) in entries {
        let _ = writeln!(
            out,
            "<rect x=\"{x}\" y=\"895\" width=\"180\" height=\"120\" fill=\"{fill}\"/>"
        );
        text(out, (x + 230, 1_000), 115, INK, "start", name);
        let letters = i64::try_from(name.len()).unwrap_or(0);
        x += 420 + letters * 63;
    }
}

/// Lines at whole days (or hours, in a short run), at most a dozen.
fn grid(out: &mut String, report: &Report, bottom: i64) {
    let length = report.length_seconds;
    let steps = [
        600,
        3_600,
        3 * 3_600,
        6 * 3_600,
        12 * 3_600,
        DAY,
        2 * DAY,
        5 * DAY,
        10 * DAY,
        30 * DAY,
        90 * DAY,
        365 * DAY,
    ];
    let step = steps.into_iter().find(|step| length / step <= 12).unwrap_or(length);
    for at in (0..=length / step).map(|number| number * step) {
        let x = x_of(report, at);
        let _ = writeln!(
            out,
            "<path d=\"M{x} {FLEET_TOP}V{bottom}\" stroke=\"#d9dde2\" stroke-width=\"8\"/>"
        );
        let name = match (at % DAY, at / DAY) {
            (0, day) => format!("day {day}"),
            (rest, 0) => super::table::time(rest),
            (rest, day) => format!("{day}d {}", super::table::time(rest)),
        };
        text(out, (x, bottom + 220), 115, FAINT, "middle", &name);
    }
}

fn x_of(report: &Report, at: i64) -> i64 {
    LEFT + (RIGHT - LEFT) * at / report.length_seconds.max(1)
}

fn text(out: &mut String, (x, y): (i64, i64), size: i64, fill: &str, anchor: &str, words: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{x}\" y=\"{y}\" font-size=\"{size}\" fill=\"{fill}\" text-anchor=\"{anchor}\">{}</text>",
        escape(words)
    );
}

/// What a scenario calls things must not become markup, and control characters are not allowed in XML at all.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}

/// A staircase through points, from the first one's x on: each height stands until the next point.
fn stairs(points: impl Iterator<Item = (i64, i64)>, end: i64) -> String {
    let mut path = String::new();
    let mut before = None;
    for (x, y) in points {
        match before {
            None => {
                let _ = write!(path, "{x} {y}");
            }
            Some(height) if height != y => {
                let _ = write!(path, "H{x}V{y}");
            }
            Some(_) => {}
        }
        before = Some(y);
    }
    let _ = write!(path, "H{end}");
    path
}
