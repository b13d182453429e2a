//! The `status` inside every reply. Codes come from the error table alone.

use gantry_proto::grpc::v2::{Code, Status};

use crate::error::GatewayError;
use crate::front::call;

pub fn ok() -> Status {
    status(Code::Ok, "OK".to_string())
}

pub fn refused(error: &GatewayError) -> Status {
    status(call::refused(error).grpc, error.to_string())
}

pub fn of<T>(result: &Result<T, GatewayError>) -> Status {
    match result {
        Ok(_) => ok(),
        Err(error) => refused(error),
    }
}

/// What stands above several entries: the code they share, with the first one's words, or that they differ.
pub fn common<'a>(entries: impl IntoIterator<Item = Option<&'a Status>>) -> Status {
    let mut entries = entries.into_iter().flatten();
    let Some(first) = entries.next() else { return ok() };
    if entries.all(|entry| entry.code == first.code) {
        first.clone()
    } else {
        status(Code::MultipleResults, "the entries have different outcomes".to_string())
    }
}

pub fn message_not_found() -> Status {
    status(Code::MessageNotFound, "no message arrived in time".to_string())
}

pub fn not_implemented(what: &str) -> Status {
    refused(&GatewayError::NotImplemented { what: what.to_string() })
}

fn status(code: Code, message: String) -> Status {
    Status { code: code.into(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_agree_give_their_code_and_others_multiple_results() {
        let refused = refused(&GatewayError::ClientIdRequired);
        assert_eq!(refused.code(), Code::ClientIdRequired);
        assert_eq!(common([Some(&ok()), Some(&ok())]).code(), Code::Ok);
        assert_eq!(common([Some(&refused), Some(&refused)]), refused);
        assert_eq!(common([Some(&ok()), Some(&refused)]).code(), Code::MultipleResults);
    }
}
