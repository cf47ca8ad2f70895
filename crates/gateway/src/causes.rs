//! An error with all that it came from, for one line of a log or a terminal.

use std::error::Error;

/// `error` and what it came from, from the outside in; a cause that the text already names is not said twice.
#[must_use]
pub fn in_one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{fmt, io};

    use super::*;

    #[derive(Debug)]
    struct Wrapped(&'static str, io::Error);

    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Wrapped {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.1)
        }
    }

    #[test]
    fn each_cause_is_said_once() {
        assert_eq!(in_one_line(&Wrapped("no key", io::Error::other("no file"))), "no key: no file");
        assert_eq!(in_one_line(&Wrapped("no key, no file", io::Error::other("no file"))), "no key, no file");
        assert_eq!(in_one_line(&io::Error::other("alone")), "alone");
    }
}
