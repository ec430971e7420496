//! The report for a terminal: the verdict first, then who was admitted, load over time, what failed, and what is left.

use std::fmt::Write as _;

use placement::Reserve;

use super::{
    report::{Incident, Kind, LossNow, PlanOrders, Report},
    span::Span,
};

/// Lines of load over time.
const CURVE_LINES: usize = 10;
/// Incidents and violations beyond these are in the JSON.
const MOST_LINES: usize = 40;

pub fn render(report: &Report) -> String {
    let mut out = String::new();
    heading(&mut out, report);
    orders(&mut out, report);
    load(&mut out, report);
    incidents(&mut out, report);
    usage(&mut out, report);
    ending(&mut out, report);
    violations(&mut out, report);
    out
}

/// Rows under a heading; the first column to the left, the others to the right.
fn table(out: &mut String, heading: &[&str], rows: &[Vec<String>]) {
    let mut widths: Vec<usize> = heading.iter().map(|title| title.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::from(" ");
        for (at, (cell, width)) in cells.zip(&widths).enumerate() {
            if at == 0 {
                let _ = write!(text, " {cell:<width$}");
            } else {
                let _ = write!(text, "  {cell:>width$}");
            }
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&mut heading.iter().copied());
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
}

pub fn percent(ppm: i64) -> String {
    format!("{}.{} %", ppm / 10_000, ppm.rem_euclid(10_000) / 1_000)
}

/// "2d 12h".
pub fn time(seconds: i64) -> String {
    Span(seconds).to_string()
}

pub fn reserve(report: &Report) -> String {
    match report.policy.reserve() {
        Reserve::None => "none".to_owned(),
        Reserve::FractionPpm(fraction) => format!("{} of everything", percent(fraction)),
        Reserve::NPlusOne => "N+1 by certificates".to_owned(),
    }
}

fn heading(out: &mut String, report: &Report) {
    let spec = report.policy.spec();
    let ratio = |ppm: i64| format!("{}.{}:1", ppm / 1_000_000, ppm / 100_000 % 10);
    let _ = writeln!(
        out,
        "{}: {} machines, {}, seed {}",
        report.scenario,
        report.machines.len(),
        time(report.length_seconds),
        report.seed
    );
    let _ = writeln!(
        out,
        "Policy: reserve {}; CPU {}, memory {}{}",
        reserve(report),
        ratio(spec.cpu_overcommit_ppm),
        ratio(spec.mem_overcommit_ppm),
        if spec.usage.is_some() { "; by usage" } else { "" }
    );
    let _ = writeln!(out, "{}", verdict(report));
}

/// The one sentence that also stands above the picture.
pub fn verdict(report: &Report) -> String {
    let admitted: u64 = report.orders.by_plan.iter().map(|plan| plan.admitted).sum();
    let refused: u64 = report.orders.by_plan.iter().map(PlanOrders::refused).sum();
    let failures = report
        .incidents
        .iter()
        .filter(|incident| incident.kind == Kind::Failure);
    let (count, absorbed) = failures.fold((0, 0), |(count, absorbed), incident| {
        (count + 1, absorbed + usize::from(incident.absorbed))
    });
    let safe = report.end.losses.iter().filter(|loss| loss.absorbed()).count();
    format!(
        "{admitted} orders admitted, {refused} refused; {absorbed} of {count} failures absorbed; at the end any of {safe} of \
         {} machines may fail; {} violations",
        report.end.losses.len(),
        report.violations.len()
    )
}

fn orders(out: &mut String, report: &Report) {
    out.push_str("\nOrders\n");
    let row = |plan: &PlanOrders| {
        let reasons = plan.refused.iter().map(|(reason, count)| format!("{count} {reason}"));
        vec![
            plan.plan.clone(),
            plan.admitted.to_string(),
            plan.refused().to_string(),
            reasons.collect::<Vec<_>>().join("; "),
        ]
    };
    let rows: Vec<_> = report.orders.by_plan.iter().map(row).collect();
    table(out, &["plan", "admitted", "refused", "because of"], &rows);
    let _ = writeln!(out, "  {} cancelled by the customer.", report.orders.cancelled);
    if let Some(first) = &report.orders.first_refusal {
        let _ = writeln!(
            out,
            "  First refusal after {}: a {} when {} pods ran (CPU {}, memory {} of what was up).\n    {}",
            time(first.at),
            first.plan,
            first.running,
            percent(first.cpu_ppm),
            percent(first.mem_ppm),
            first.why
        );
    }
}

fn load(out: &mut String, report: &Report) {
    out.push_str(
        "\nLoad over time (requests against what is up; down: machines, still: pods without a living machine)\n",
    );
    let last = report.samples.len().saturating_sub(1);
    let lines = CURVE_LINES.min(last.max(1));
    let points = (0..=lines).filter_map(|line| report.samples.get(last * line / lines));
    let rows: Vec<_> = points
        .map(|sample| {
            vec![
                time(sample.at),
                sample.pods.to_string(),
                percent(sample.cpu_ppm),
                percent(sample.mem_ppm),
                sample.machines_down.to_string(),
                sample.standing_still.to_string(),
                sample.admitted.to_string(),
                sample.refused.to_string(),
            ]
        })
        .collect();
    let heading = ["time", "pods", "CPU", "memory", "down", "still", "admitted", "refused"];
    table(out, &heading, &rows);
}

fn incidents(out: &mut String, report: &Report) {
    if report.incidents.is_empty() {
        return;
    }
    out.push_str("\nFailures and drains\n");
    let row = |incident: &Incident| {
        let kind = match incident.kind {
            Kind::Failure => "fails",
            Kind::Drain => "drained",
        };
        let back = incident.returned_at.map_or_else(|| "no".to_owned(), time);
        let left = incident.stranded + incident.best_effort_stranded;
        vec![
            time(incident.at),
            format!("{} {kind}", incident.node),
            back,
            incident.others_down.to_string(),
            incident.pods.to_string(),
            (incident.by_certificate + incident.by_search).to_string(),
            incident.made_room.to_string(),
            left.to_string(),
            incident.pinned.to_string(),
            incident.stopped.to_string(),
            incident.exposed.to_string(),
            incident.violations.to_string(),
            absorbed(incident).to_owned(),
        ]
    };
    let rows: Vec<_> = report.incidents.iter().take(MOST_LINES).map(row).collect();
    let heading = [
        "time",
        "what",
        "back",
        "down",
        "pods",
        "moved",
        "others",
        "stranded",
        "pinned",
        "stopped",
        "exposed",
        "violations",
        "absorbed",
    ];
    table(out, &heading, &rows);
    if report.incidents.len() > MOST_LINES {
        let _ = writeln!(
            out,
            "  … and {} more, in the JSON.",
            report.incidents.len() - MOST_LINES
        );
    }
    out.push_str(
        "  down: machines that were down already; others: moved from elsewhere to make room; pinned: the data is on the\n  \
         machine; stopped: best-effort, the room was needed; exposed: protected and without a certificate afterwards.\n",
    );
    let moves = &report.moves;
    let _ = writeln!(
        out,
        "  Moves: {} by certificate, {} by search, {} for drains, {} to make room, {} later; {} of restarts, {} MiB copied.",
        moves.certificate,
        moves.search,
        moves.drain,
        moves.make_room,
        moves.later,
        time(moves.cost.restart_seconds),
        moves.cost.volume_mib
    );
    let _ = writeln!(
        out,
        "  Pods stood still for {} pod-hours in all.",
        report.lost_pod_seconds / 3_600
    );
}

fn absorbed(incident: &Incident) -> &'static str {
    match (incident.absorbed, incident.no_control_plane) {
        (true, _) => "yes",
        (false, true) => "no: no control plane",
        (false, false) => "NO",
    }
}

fn usage(out: &mut String, report: &Report) {
    let Some(usage) = report.usage else { return };
    let share = |count: u64| {
        let ppm = u128::from(count) * 1_000_000 / u128::from(usage.looked_at.max(1));
        percent(i64::try_from(ppm).unwrap_or(i64::MAX))
    };
    let _ = writeln!(
        out,
        "\nUse, by the traces\n  CPU beyond the machine in {} of all looks, memory in {}; highest {} and {}.\n  \
         {} pods resized; machines closed to orders for being busy: {} times.",
        share(usage.cpu_over),
        share(usage.mem_over),
        percent(usage.cpu_peak_ppm),
        percent(usage.mem_peak_ppm),
        usage.resized,
        usage.closed
    );
}

fn ending(out: &mut String, report: &Report) {
    let end = &report.end;
    let _ = writeln!(
        out,
        "\nAt the end\n  {} pods run, {} stand still.",
        end.running, end.standing_still
    );
    for room in &end.headroom {
        let _ = writeln!(
            out,
            "  Room for {} more {}; what ends it: {}.",
            room.more, room.plan, room.binding
        );
    }
    let certified = end.losses.iter().filter(|loss| loss.certified).count();
    let by_certificates = match report.policy.reserve() {
        Reserve::NPlusOne => format!(", {certified} by certificates alone"),
        Reserve::None | Reserve::FractionPpm(_) => String::new(),
    };
    let _ = writeln!(
        out,
        "  If one more machine died now: {} of {} deaths would be absorbed{by_certificates}.",
        end.losses.iter().filter(|loss| loss.absorbed()).count(),
        end.losses.len()
    );
    let bad = || end.losses.iter().filter(|loss| !loss.absorbed());
    for loss in bad().take(MOST_LINES) {
        let _ = writeln!(out, "  {}", sentence(loss));
    }
    let more = bad().count().saturating_sub(MOST_LINES);
    if more > 0 {
        let _ = writeln!(out, "  … and {more} more, in the JSON.");
    }
}

fn sentence(loss: &LossNow) -> String {
    if loss.stops_placement {
        return format!("{} decides: nothing can be placed anew until it returns.", loss.node);
    }
    format!(
        "{} must not fail: of {} pods, {} move and {} find no place.",
        loss.node, loss.pods, loss.moved, loss.stranded
    )
}

fn violations(out: &mut String, report: &Report) {
    if report.violations.is_empty() {
        out.push_str("\nThe independent checker found nothing wrong.\n");
        return;
    }
    let _ = writeln!(
        out,
        "\nThe independent checker found {} violations",
        report.violations.len()
    );
    for found in report.violations.iter().take(MOST_LINES) {
        let _ = writeln!(out, "  {}: {}", time(found.at), found.text);
    }
    if report.violations.len() > MOST_LINES {
        let _ = writeln!(
            out,
            "  … and {} more, in the JSON.",
            report.violations.len() - MOST_LINES
        );
    }
}
