//! The thresholds of `[server.overload]`.

use super::{Amount, GIB, MIB, SECOND, Unit};

pub(in crate::config) static OVERLOAD_MEMORY_MAX: Amount = Amount {
    unit: Unit::Bytes,
    ..Amount::derived(
        "server.overload.memory_max",
        "the least limit of the process's control groups, or the machine's memory",
        [32 * MIB, 1024 * GIB],
        "At the limit of its control group the kernel kills the process, and every connection with it. Write a size where others \
         need the machine's memory too.",
    )
    .or_unlimited()
};
pub(in crate::config) static OVERLOAD_MEMORY_REFUSE_PERCENT: Amount = Amount::new(
    "server.overload.memory_refuse_percent",
    Unit::Count,
    75,
    [1, 100],
    "What is left is for those who are there: for their messages, and for the handshakes that were under way.",
)
.or_unlimited();
pub(in crate::config) static OVERLOAD_MEMORY_SHED_PERCENT: Amount = Amount::new(
    "server.overload.memory_shed_percent",
    Unit::Count,
    85,
    [1, 100],
    "Late enough that refusing others has had its effect, early enough that what comes before the next look still fits.",
)
.or_unlimited();
pub(in crate::config) static OVERLOAD_DESCRIPTORS_REFUSE_PERCENT: Amount = Amount::new(
    "server.overload.descriptors_refuse_percent",
    Unit::Count,
    95,
    [1, 100],
    "Applications behind the gate, files and operators need descriptors too; who is told so at once does not wait for one.",
)
.or_unlimited();
pub(in crate::config) static OVERLOAD_DELAY_MAX: Amount = Amount::new(
    "server.overload.delay_max",
    Unit::Milliseconds,
    SECOND,
    [10, 60 * SECOND],
    "Milliseconds are normal under load; a second, three times in a row, is more than clients wait for, and no pause of the machine.",
)
.or_unlimited();
