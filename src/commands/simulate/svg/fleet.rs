//! The upper part of the picture: load of what is up, who stands still, and when orders were refused.

use std::fmt::Write as _;

use placement::PPM;

use super::super::report::{Report, Sample};
use super::{CPU, FAINT, FLEET_HEIGHT, FLEET_TOP, LEFT, LOST, MEMORY, REFUSED, RIGHT, stairs, text, x_of};

/// How high the bars of refusals may stand.
const BARS: i64 = FLEET_HEIGHT / 3;

pub fn draw(out: &mut String, report: &Report) {
    let bottom = FLEET_TOP + FLEET_HEIGHT;
    for (share, name) in [(0, "0"), (50, "50 %"), (100, "100 %")] {
        let y = bottom - FLEET_HEIGHT * share / 100;
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {y}H{RIGHT}\" stroke=\"#c3c9d0\" stroke-width=\"8\"/>"
        );
        text(out, (LEFT - 60, y + 40), 110, FAINT, "end", name);
    }
    let caption = "all machines that are up: requests against what they have";
    text(out, (LEFT, FLEET_TOP - 80), 115, FAINT, "start", caption);
    refused(out, report, bottom);
    still(out, report, bottom);
    let x = |at: i64| x_of(report, at);
    let height = |ppm: i64| bottom - FLEET_HEIGHT * ppm.clamp(0, PPM) / PPM;
    let cpu = report
        .samples
        .iter()
        .map(|sample| (x(sample.at), height(sample.cpu_ppm)));
    let mem = report
        .samples
        .iter()
        .map(|sample| (x(sample.at), height(sample.mem_ppm)));
    for (path, colour) in [(stairs(cpu, RIGHT), CPU), (stairs(mem, RIGHT), MEMORY)] {
        let _ = writeln!(
            out,
            "<path d=\"M{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"24\"/>"
        );
    }
}

/// A bar per stretch between two samples, against the worst stretch.
fn refused(out: &mut String, report: &Report, bottom: i64) {
    let pairs = || report.samples.windows(2);
    let new = |pair: &[Sample]| i64::try_from(pair[1].refused - pair[0].refused).unwrap_or(0);
    let most = pairs().map(new).max().unwrap_or(0).max(1);
    for pair in pairs().filter(|pair| new(pair) > 0) {
        let (from, to) = (x_of(report, pair[0].at), x_of(report, pair[1].at));
        let high = (BARS * new(pair) / most).max(40);
        let _ = writeln!(
            out,
            "<rect x=\"{from}\" y=\"{}\" width=\"{}\" height=\"{high}\" fill=\"{REFUSED}\" opacity=\"0.6\"><title>{} refused</title></rect>",
            bottom - high,
            (to - from).max(10),
            new(pair)
        );
    }
}

/// The share of all pods that have no living machine, as a red area.
fn still(out: &mut String, report: &Report, bottom: i64) {
    if report.samples.iter().all(|sample| sample.standing_still == 0) {
        return;
    }
    let points = report.samples.iter().map(|sample| {
        let [still, pods] = [sample.standing_still, sample.pods.max(1)].map(|count| i64::try_from(count).unwrap_or(1));
        (x_of(report, sample.at), bottom - FLEET_HEIGHT * still / pods)
    });
    let _ = writeln!(
        out,
        "<path d=\"M{LEFT} {bottom}L{}V{bottom}Z\" fill=\"{LOST}\" opacity=\"0.75\"/>",
        stairs(points, RIGHT)
    );
}
