//! How the demo talks: a line per step with the time it took, colours only on a terminal.

use std::io::IsTerminal;

use crate::telemetry::Stopwatch;

pub struct Tell {
    colours: bool,
    begun: Stopwatch,
}

#[expect(clippy::unused_self, reason = "one way of talking for every kind of line")]
impl Tell {
    pub fn new() -> Self {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self {
            colours,
            begun: Stopwatch::start(),
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    pub fn blank(&self) {
        println!();
    }

    pub fn title(&self, text: &str) {
        println!("\n{}\n", self.paint("1", text));
    }

    pub fn line(&self, text: &str) {
        println!("  {text}");
    }

    /// Something that has just been seen to be so.
    pub fn done(&self, text: &str) {
        let at = format!("{:6.1} s", self.begun.elapsed().as_secs_f64());
        println!("  {} {} {text}", self.paint("32", "✓"), self.paint("2", &at));
    }

    /// An event, as it came over the WebSocket.
    pub fn event(&self, seq: i64, service: &str, phase: &str, message: &str) {
        let at = format!("{:6.1} s", self.begun.elapsed().as_secs_f64());
        let phase = match phase {
            "running" => self.paint("32", phase),
            "failed" | "degraded" => self.paint("31", phase),
            _ => self.paint("33", phase),
        };
        println!(
            "  {} {} {service:<10} {phase}  {message}",
            self.paint("36", &format!("live {seq:>3}")),
            self.paint("2", &at)
        );
    }
}
