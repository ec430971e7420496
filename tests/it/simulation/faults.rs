//! What goes wrong in a history, and its end.

use simcluster::Fault;
use simcluster::faults::{Latency, What};

use super::world::{NODES, OFFERS, World};

/// Chance of a request to meet the fault: high enough to hit every kind of call, low enough to get on.
const PPM: u32 = 150_000;

impl World {
    /// Something begins to go wrong.
    pub fn fault(&mut self) {
        let seventh = || Fault::api().chance(PPM);
        let (what, faults) = match self.below(14) {
            0 => ("every seventh request is refused with 500", vec![seventh()]),
            1 => ("every seventh request is refused with 409", vec![seventh().status(409)]),
            2 => ("every seventh answer is lost", vec![seventh().status_after_effect(504)]),
            3 => {
                let busy = Latency::Exponential { mean: 3, max: 30 };
                ("requests are slow, some of them very", vec![Fault::api().latency(busy)])
            }
            4 => {
                let cut = Fault::new(What::WatchDropped).chance(PPM);
                ("every seventh watch is cut at once", vec![cut])
            }
            5 => ("all watches are cut", vec![Fault::drop_watches()]),
            6 => {
                let faults = vec![Fault::forget_history(), Fault::drop_watches()];
                ("all watches are cut, and their past is forgotten", faults)
            }
            7 => {
                let (service, _) = self.pick(&OFFERS);
                self.history.add(format!("the image of {service} cannot be pulled"));
                ("which is tried again and again", vec![Fault::pulls_fail(service)])
            }
            8 => {
                let faults = vec![Fault::crash(1).times(3), Fault::out_of_memory().times(1)];
                ("four containers crash", faults)
            }
            9 => ("nothing becomes ready", vec![Fault::never_ready()]),
            10 => (
                "every seventh connection ends without an answer",
                vec![seventh().connection_lost()],
            ),
            // At once: the client does wait as it is told, and a history has no time for that.
            11 => (
                "every seventh request is told to come again",
                vec![seventh().throttled(0)],
            ),
            12 => {
                let late = Fault::new(What::WatchStale { ms: Some(40) });
                ("watches are late", vec![late])
            }
            _ => {
                let gone = Fault::new(What::WatchGone).chance(PPM);
                ("every seventh watch is told that its past is gone", vec![gone])
            }
        };
        for fault in faults {
            self.app.sim.faults().add(fault);
        }
        self.history.add(what);
    }

    /// A machine loses its power or its network.
    pub fn harm_node(&mut self) {
        let (node, _) = self.pick(&NODES);
        let (fault, what) = if self.below(2) == 0 {
            (Fault::kill_node(node), "loses its power")
        } else {
            (Fault::partition_node(node), "is cut off")
        };
        self.app.sim.faults().add(fault);
        self.history.add(format!("{node} {what}"));
    }

    /// Ends every fault but the permanent one.
    pub fn mend(&mut self) {
        let faults = self.app.sim.faults();
        faults.clear();
        if let Some(service) = self.broken {
            faults.add(Fault::pulls_fail(service));
        }
    }
}
