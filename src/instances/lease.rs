//! Working under a lease: short, so that a dead replica is replaced soon, and renewed while the work lasts.
//!
//! When it cannot be renewed the work is dropped where it stands: another replica may be at it, or will be shortly.

use std::time::Duration;

/// What a claim takes and each renewal gives.
pub const SECONDS: i32 = 15;
/// Two renewals may fail before the lease is over.
const RENEW: Duration = Duration::from_secs(5);
/// No pass takes this long; one that does hangs.
const LONGEST: Duration = Duration::from_mins(2);

/// Why the work was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The lease is another's by now, or the database cannot be asked.
    Lease,
    TooLong,
}

/// Does `work`, renewing every few seconds: `renew` says whether the lease is still held.
pub async fn hold<T, Fut>(work: impl Future<Output = T>, renew: impl FnMut() -> Fut) -> Result<T, Lost>
where
    Fut: Future<Output = sqlx::Result<bool>>,
{
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = until_lost(renew, || tokio::time::sleep(RENEW)) => Err(Lost::Lease),
        () = tokio::time::sleep(LONGEST) => Err(Lost::TooLong),
    }
}

/// Renews after each `pause`; returns when the lease is gone. One failure to ask is forgiven: the lease outlasts it.
async fn until_lost<Fut, Pause>(mut renew: impl FnMut() -> Fut, mut pause: impl FnMut() -> Pause)
where
    Fut: Future<Output = sqlx::Result<bool>>,
    Pause: Future<Output = ()>,
{
    let mut failed = false;
    loop {
        pause().await;
        match renew().await {
            Ok(true) => failed = false,
            Err(_) if !failed => failed = true,
            Ok(false) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;

    #[tokio::test]
    async fn the_lease_is_given_up_when_it_is_another_s_or_nobody_can_be_asked() {
        let (yes, no, down) = (|| Ok(true), || Ok(false), || Err(sqlx::Error::PoolTimedOut));
        for (answers, asked) in [
            (vec![no()], 1),
            (vec![yes(), yes(), no()], 3),
            (vec![down(), down()], 2),
            (vec![down(), yes(), down(), no()], 4),
        ] {
            let (mut answers, mut count) = (answers.into_iter(), 0);
            let renew = || {
                count += 1;
                ready(answers.next().expect("nobody asks after the lease is lost"))
            };
            until_lost(renew, || ready(())).await;
            assert_eq!(count, asked);
        }
        assert_eq!(hold(ready(7), || ready(Ok(false))).await, Ok(7));
    }
}
