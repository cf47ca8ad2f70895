//! How applications are reached, shared out and looked after: `routes.*.backend`. Read in `backend.rs` and `backend/`.

use super::{Amount, DEADLINE, SECOND, Unit};

pub(in crate::config) static UPSTREAM_FAILURES_MAX: Amount = Amount::new(
    "routes.*.backend.failures_max",
    Unit::Count,
    5,
    [1, 1000],
    "One failure is an accident. Of one application alone nothing is made of it: there is no other to go to.",
)
.or_unlimited();
pub(in crate::config) static DIALS_MAX: Amount = Amount::new(
    "routes.*.backend.dials_max",
    Unit::Count,
    256,
    [1, 1_000_000],
    "When thousands come back at once, more at a time would only wait in the application's backlog.",
);
pub(in crate::config) static CHECK_INTERVAL: Amount = Amount::new(
    "routes.*.backend.health.interval",
    Unit::Milliseconds,
    5 * SECOND,
    DEADLINE,
    "With the other defaults of health, one that has stopped is found within 20 s; a check costs an application less than a client does.",
);
pub(in crate::config) static CHECK_TIMEOUT: Amount = Amount::new(
    "routes.*.backend.health.timeout",
    Unit::Milliseconds,
    2 * SECOND,
    DEADLINE,
    "Who says that it is well looks nothing up; one that takes longer makes its clients wait as well.",
);
pub(in crate::config) static CHECK_FAILURES_MAX: Amount = Amount::new(
    "routes.*.backend.health.failures_max",
    Unit::Count,
    3,
    [1, 1000],
    "One failure is an accident, and two come with a restart.",
);
pub(in crate::config) static CHECK_SUCCESSES_MIN: Amount = Amount::new(
    "routes.*.backend.health.successes_min",
    Unit::Count,
    2,
    [1, 1000],
    "Who has just come back and goes again is not sent everybody in between.",
);
pub(in crate::config) static UPSTREAM_WEIGHT: Amount = Amount::new(
    "routes.*.backend.urls.*.weight",
    Unit::Count,
    1,
    [1, 1000],
    "Each application gets as much as any other.",
);
pub(in crate::config) static UPSTREAM_CONNECTIONS_MAX: Amount = Amount::unlimited(
    "routes.*.backend.urls.*.connections_max",
    Unit::Count,
    [1, 10_000_000],
    "How many an application can have is for it to say.",
);
pub(in crate::config) static TOTAL_TIMEOUT: Amount = Amount::new(
    "routes.*.backend.total_timeout",
    Unit::Milliseconds,
    15 * SECOND,
    DEADLINE,
    "One that is slow to connect, and another that takes its time to answer.",
);
pub(in crate::config) static CONNECT_TIMEOUT: Amount = Amount::new(
    "routes.*.backend.connect_timeout",
    Unit::Milliseconds,
    3 * SECOND,
    DEADLINE,
    "A handshake across an ocean takes a third of a second, and a lost packet one more; what takes longer will not come.",
);
pub(in crate::config) static ANSWER_TIMEOUT: Amount = Amount::new(
    "routes.*.backend.answer_timeout",
    Unit::Milliseconds,
    10 * SECOND,
    DEADLINE,
    "An application may look the user up before it answers; a client that waits longer has given up.",
);
