//! The page that every problem's `type` leads to: when it happens, and what to do.

use serde::Serialize;

use crate::http::problem::Kind;

#[derive(Debug, Serialize)]
pub struct Page {
    problems: Vec<Entry>,
}

#[derive(Debug, Serialize)]
struct Entry {
    code: &'static str,
    status: u16,
    title: &'static str,
    help: &'static str,
}

pub fn all() -> Page {
    let entry = |kind: &Kind| Entry {
        code: kind.code(),
        status: kind.status().as_u16(),
        title: kind.title(),
        help: help(*kind),
    };
    let mut problems: Vec<_> = Kind::ALL.iter().map(entry).collect();
    problems.sort_by_key(|entry| entry.status);
    Page { problems }
}

/// When it happens, and what the client can do about it.
fn help(kind: Kind) -> &'static str {
    match kind {
        Kind::BadRequest => {
            "The body is not valid JSON, or a header cannot be read. Correct the request; `detail` says where it went wrong."
        }
        Kind::InvalidCursor => {
            "A cursor was changed, or comes from another list or another filter. Start again without one."
        }
        Kind::IdempotencyKeyMissing => {
            "The request would create or charge something, and has no Idempotency-Key. Send a fresh random key, and the same one when you repeat the request."
        }
        Kind::Unauthenticated => "No access token was sent. Log in and send it as `Authorization: Bearer …`.",
        Kind::InvalidCredentials => {
            "No account has this e-mail address and password. Which of the two is wrong is not told."
        }
        Kind::InvalidToken => {
            "The token has expired, its session has ended, or the account's rights have changed. Refresh it; if that fails, log in again."
        }
        Kind::Forbidden => {
            "The account is known, and its role is not enough. The API reference names the lowest role of every operation."
        }
        Kind::OriginRefused => {
            "A web page of an origin that is not allowed tried to open a live connection. Add the origin to the server's allowed origins."
        }
        Kind::NotFound => {
            "There is nothing at this address, or it belongs to somebody else: the two look the same on purpose."
        }
        Kind::MethodNotAllowed => {
            "The address exists, and does not know this method. The Allow header lists those that it knows."
        }
        Kind::NotAcceptable => "The Accept header excludes every form that this answer has. Ask for application/json.",
        Kind::RequestTimeout => "The request did not arrive completely in time. Send it again.",
        Kind::Conflict => {
            "What is asked for does not go with the present state; `detail` says why. Read the resource again and decide anew."
        }
        Kind::InsufficientCapacity => {
            "No node has room for it at the moment. Nothing was written or charged. Try a smaller plan, or later."
        }
        Kind::OperationInProgress => {
            "Another operation runs on this, and the two cannot run at once. Wait until it has ended, then ask again."
        }
        Kind::IdempotencyInFlight => {
            "The first request with this key has not been answered yet. Repeat this one in a moment; its answer will be the first one's."
        }
        Kind::NotOrderable => "The service is not published, or may not be sold by this operator. Choose another one.",
        Kind::PreconditionFailed => {
            "The resource was changed after you read it. Read it again, and repeat the change with its new ETag."
        }
        Kind::PayloadTooLarge => "The body has more than 256 KiB. Send less.",
        Kind::UnsupportedMediaType => "The body is not declared as JSON. Send `Content-Type: application/json`.",
        Kind::UpgradeRequired => {
            "This address is a WebSocket and got a plain request. Connect with a WebSocket client."
        }
        Kind::Validation => {
            "The request was understood, and some of its fields break a rule. `errors` names each of them with a pointer and the rule."
        }
        Kind::IdempotencyMismatch => {
            "This Idempotency-Key was used before, with another request. Use a fresh key for a new request."
        }
        Kind::PreconditionRequired => {
            "Edits need an If-Match header with the ETag that was read, so that nobody overwrites another's change unseen."
        }
        Kind::RateLimited => "The quota of this account or address is spent. Wait as long as Retry-After says.",
        Kind::Internal => {
            "A fault of ours; it is logged. Repeating may help. If it does not, tell support the `request_id`."
        }
        Kind::Unavailable => {
            "The server starts, stops, or cannot reach its database. Repeat the request after what Retry-After says."
        }
        Kind::Timeout => {
            "The answer took too long and was given up. What was asked may have been done: repeat it with the same Idempotency-Key, or read the state first."
        }
    }
}

/// The code whose title this is: the OpenAPI document carries titles.
pub fn code_of(title: &str) -> Option<&'static str> {
    Kind::ALL
        .iter()
        .find(|kind| kind.title() == title)
        .map(|kind| kind.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_explained_in_its_own_words() {
        let mut texts: Vec<_> = Kind::ALL.iter().map(|kind| help(*kind)).collect();
        assert!(texts.iter().all(|text| text.ends_with('.') && text.len() > 30));
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), Kind::ALL.len());
        assert!(Kind::ALL.iter().all(|kind| code_of(kind.title()) == Some(kind.code())));
    }
}
