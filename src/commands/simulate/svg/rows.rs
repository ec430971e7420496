//! One row per machine. CPU grows upward from the middle line, memory downward; a full row is a full machine.

use std::fmt::Write as _;

use placement::PPM;

use super::super::{
    report::{Incident, Kind, MachineReport, Mark, Report},
    table::time,
};
use super::{CPU, FAINT, INK, LEFT, LOST, MEMORY, RIGHT, ROWS_TOP, escape, stairs, text, x_of};

/// Rows share this, within what can still be read and what need not be larger.
const ALL_ROWS: i64 = 9_000;
const LEAST: i64 = 120;
const MOST: i64 = 900;

pub fn height(machines: usize) -> i64 {
    let machines = i64::try_from(machines).unwrap_or(i64::MAX).max(1);
    (ALL_ROWS / machines).clamp(LEAST, MOST)
}

pub fn draw(out: &mut String, report: &Report, height: i64) {
    let caption = "each machine: CPU above its middle line, memory below; grey is free";
    text(out, (LEFT, ROWS_TOP - 80), 115, FAINT, "start", caption);
    let mut top = ROWS_TOP;
    let mut before: Option<&MachineReport> = None;
    let numbered = |machine: &MachineReport| machine.name != machine.class;
    for machine in &report.machines {
        let another = before.filter(|before| before.class != machine.class);
        if another.is_some_and(|before| numbered(before) || numbered(machine)) {
            let _ = writeln!(
                out,
                "<path d=\"M0 {top}H{RIGHT}\" stroke=\"{FAINT}\" stroke-width=\"12\"/>"
            );
        }
        before = Some(machine);
        row(out, report, machine, (top, height));
        top += height;
    }
}

fn row(out: &mut String, report: &Report, machine: &MachineReport, (top, height): (i64, i64)) {
    let gap = (height / 12).max(10);
    let (top, height) = (top + gap / 2, height - gap);
    let (middle, half) = (top + height / 2, height / 2);
    let width = RIGHT - LEFT;
    let _ = writeln!(
        out,
        "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" fill=\"#eceff2\" fill-opacity=\"0.7\"/>"
    );
    let letters = (height * 3 / 4).clamp(85, 140);
    text(
        out,
        (LEFT - 60, middle + letters / 3),
        letters,
        INK,
        "end",
        &machine.name,
    );
    for (shares, sign, colour) in [(&machine.cpu_ppm, -1, CPU), (&machine.mem_ppm, 1, MEMORY)] {
        let points = report.samples.iter().zip(shares).map(|(sample, ppm)| {
            let high = half * (*ppm).clamp(0, PPM) / PPM;
            (x_of(report, sample.at), middle + sign * high)
        });
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {middle}L{}V{middle}Z\" fill=\"{colour}\"/>",
            stairs(points, RIGHT)
        );
    }
    for mark in &machine.marks {
        let incident = report
            .incidents
            .iter()
            .find(|incident| incident.node == machine.name && incident.at == mark.from);
        stretch(out, report, mark, incident, (top, height));
    }
}

/// A machine that is not as usual, with a needle at the beginning that is seen even where the stretch is short.
fn stretch(out: &mut String, report: &Report, mark: &Mark, incident: Option<&Incident>, (top, height): (i64, i64)) {
    let from = x_of(report, mark.from);
    let to = x_of(report, mark.to.unwrap_or(report.length_seconds));
    let (fill, needle) = match (mark.kind, mark.absorbed) {
        (Kind::Failure, true) => ("url(#down)", INK),
        (Kind::Failure, false) => ("url(#lost)", LOST),
        (Kind::Drain, _) => ("url(#drain)", "#8a7015"),
    };
    let title = incident.map(story).unwrap_or_default();
    let _ = writeln!(
        out,
        "<g><title>{}</title><rect x=\"{from}\" y=\"{top}\" width=\"{}\" height=\"{height}\" fill=\"{fill}\"/>\
         <path d=\"M{} {}h60l-30 50zM{from} {top}v{height}\" fill=\"{needle}\" stroke=\"{needle}\" stroke-width=\"14\"/></g>",
        escape(&title),
        (to - from).max(25),
        from - 30,
        top - 20
    );
}

fn story(incident: &Incident) -> String {
    let what = match incident.kind {
        Kind::Failure => "fails",
        Kind::Drain => "is drained",
    };
    format!(
        "{} {what} after {}: of {} pods {} move, {} find no place",
        incident.node,
        time(incident.at),
        incident.pods,
        incident.by_certificate + incident.by_search,
        incident.stranded + incident.best_effort_stranded
    )
}
