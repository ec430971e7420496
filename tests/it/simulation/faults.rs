//! What goes wrong in a history, and its end.

use std::time::Duration;

use simcluster::faults::{ApiRule, ContainerSelector, When};
use simcluster::{ApiFault, Faults};

use super::world::{OFFERS, World};

/// Chance of a request to meet the fault: high enough to hit every kind of call, low enough to get on.
const PPM: u32 = 150_000;

impl World {
    /// Something begins to go wrong.
    pub fn fault(&mut self) {
        let faults = self.app.sim.faults().clone();
        let what = match self.below(10) {
            0 => api(
                &faults,
                "every seventh request is refused with 500",
                ApiFault::Status(500),
            ),
            1 => api(
                &faults,
                "every seventh request is refused with 409",
                ApiFault::Status(409),
            ),
            2 => api(
                &faults,
                "every seventh answer is lost",
                ApiFault::StatusAfterEffect(504),
            ),
            3 => api(
                &faults,
                "every seventh request is slow",
                ApiFault::Latency(Duration::from_millis(5)),
            ),
            4 => api(&faults, "every seventh watch is cut at once", ApiFault::DropWatch),
            5 => {
                faults.drop_watches();
                "all watches are cut".to_owned()
            }
            6 => {
                faults.expire_watch_history();
                faults.drop_watches();
                "all watches are cut, and their past is forgotten".to_owned()
            }
            7 => {
                let (service, _) = self.pick(&OFFERS);
                faults.fail_pulls(service);
                format!("the image of {service} cannot be pulled")
            }
            8 => {
                faults.crash(ContainerSelector::default(), 1, Some(3));
                faults.out_of_memory(ContainerSelector::default(), Some(1));
                "four containers crash".to_owned()
            }
            _ => {
                faults.never_ready(ContainerSelector::default());
                "nothing becomes ready".to_owned()
            }
        };
        self.history.add(what);
    }

    /// Ends every fault but the permanent one.
    pub fn mend(&mut self) {
        let faults = self.app.sim.faults();
        faults.clear_api();
        faults.stop_crashes();
        faults.cure();
        for (service, _) in OFFERS.iter().filter(|(service, _)| Some(*service) != self.broken) {
            faults.mend_pulls(service);
        }
    }
}

fn api(faults: &Faults, what: &str, fault: ApiFault) -> String {
    let when = When::Chance { ppm: PPM };
    faults.add_api_rule(ApiRule {
        verb: None,
        resource: None,
        namespace: None,
        when,
        fault,
    });
    what.to_owned()
}
