"""telemetry/importers/times.py: times in every form that exports write, and what only a whole file can tell."""

from datetime import UTC, datetime

import pytest

from schema import NO_TIME
from telemetry.importers.events import DraftEvent, in_time_order, to_event
from telemetry.importers.times import read_time, settle_times
from telemetry.importers.values import timestamp


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2031-05-06 08:00:00.1234567Z", "2031-05-06T08:00:00.123456Z"),
        ("2031-05-06T10:00:00+02:00", "2031-05-06T08:00:00Z"),
        ("2031-05-06 08:00:00.000000 UTC", "2031-05-06T08:00:00Z"),
        ("20310506T080000Z", "2031-05-06T08:00:00Z"),
        ("2031/05/06 08:00:00", "2031-05-06T08:00:00Z"),
        ("06/May/2031:08:00:00 +0200", "2031-05-06T06:00:00Z"),
        ("2031-05-06T10:00:00+02:00[Europe/Berlin]", "2031-05-06T08:00:00Z"),
        ("2031-05-06 08:00:00.25 +0000 UTC m=+0.125", "2031-05-06T08:00:00.250000Z"),
        ("Tue May 06 10:00:00 CEST 2031", "2031-05-06T08:00:00Z"),
        ("2031-05-06 10:00:00 UTC+2", "2031-05-06T08:00:00Z"),
        ("2031-05-06 10:00:00 GMT+02:00", "2031-05-06T08:00:00Z"),
        ("2031-05-06 08:00:00 (UTC)", "2031-05-06T08:00:00Z"),
        ("2031年5月6日 8:00:00", "2031-05-06T08:00:00Z"),
        ("2031-05-06 오후 8:00:00", "2031-05-06T20:00:00Z"),
        ("2031. 5. 6. 8:00:00", "2031-05-06T08:00:00Z"),
        ("mardi 6 mai 2031 08:00:00", "2031-05-06T08:00:00Z"),
        ("martes, 6 de mayo de 2031 8:00:00", "2031-05-06T08:00:00Z"),
        ("1936080005,250", "2031-05-09T08:00:05.250000Z"),
        ("Tue, 06 May 2031 08:00:00 GMT", "2031-05-06T08:00:00Z"),
        ("Tuesday, 6 May 2031 08:00:00", "2031-05-06T08:00:00Z"),
        (1935741600.5, "2031-05-05T10:00:00.500000Z"),
        (1935741600500, "2031-05-05T10:00:00.500000Z"),
        ("1935741600500000", "2031-05-05T10:00:00.500000Z"),
        (1935741600500000000, "2031-05-05T10:00:00.500000Z"),
        (135802152005000000, "2031-05-05T10:00:00.500000Z"),
        ("/Date(1935741600500)/", "2031-05-05T10:00:00.500000Z"),
        ({"value": "/Date(1935741600500)/", "DateTime": "in words"}, "2031-05-05T10:00:00.500000Z"),
        ("20310505120000.500000+120", "2031-05-05T10:00:00.500000Z"),
        ("20310505050000.500000-300", "2031-05-05T10:00:00.500000Z"),
        ("05-MAY-31 10.00.00.500000 AM", "2031-05-05T10:00:00.500000Z"),
        ("Mon May 05 2031 12:00:00 GMT+0200 (Central European Summer Time)", "2031-05-05T10:00:00Z"),
        ("5. Mai 2031 10:00:00", "2031-05-05T10:00:00Z"),
        ("5 décembre 2031 10:00:00", "2031-12-05T10:00:00Z"),
        ("2031-05-05 10.00.00", "2031-05-05T10:00:00Z"),
        ("\u200e2031\u200e-05\u200e-05\u200eT10:00:00Z", "2031-05-05T10:00:00Z"),
        ({"$date": {"$numberLong": "1935741600500"}}, "2031-05-05T10:00:00.500000Z"),
        ("36525.9", "1970-01-01T10:08:45.900000Z"),
        ("928.94", "1970-01-01T00:15:28.940000Z"),
    ],
)
def test_a_time_is_read_from_each_form(value, moment):
    assert timestamp(read_time(value)) == moment


@pytest.mark.parametrize(
    "value",
    [
        "1601-01-01T00:00:00Z",
        "2031-02-30T00:00:00Z",
        "soon",
        "",
        None,
        True,
        1e30,
        "nan",
        "08:00:00",
        "May 2031 08:00",
        "6 May",
        "36526",
        46_517.417,
    ],
)
def test_what_is_no_whole_time_gives_none(value):
    assert read_time(value) is None


def settled(*texts):
    return [time and timestamp(time)[:16] for time in settle_times([read_time(text) for text in texts])]


def test_one_number_above_twelve_settles_the_order_of_day_and_month_for_the_file():
    assert settled("04/03/2031, 9:00:00 AM", "25/03/2031, 9:00:00 PM") == ["2031-03-04T09:00", "2031-03-25T21:00"]
    assert settled("04/03/2031 09:00:00", "4/25/2031 09:00:00") == ["2031-04-03T09:00", "2031-04-25T09:00"]


def test_a_file_that_proves_both_orders_leaves_ambiguous_dates_untimed():
    assert settled("04/03/2031 09:00", "25/03/2031 09:00", "3/26/2031 09:00")[0] is None


def test_without_a_proof_the_order_that_sorts_the_file_is_taken_and_else_month_first():
    assert settled("09/03/2031 09:00", "10/03/2031 09:00", "01/04/2031 09:00")[-1] == "2031-04-01T09:00"
    assert settled("04/03/2031 09:00") == ["2031-04-03T09:00"]


def test_lines_without_a_year_count_on_over_new_year_in_both_directions():
    december, january = settled("Dec 31 23:59:58", "Jan  1 00:00:02")
    assert (december, january) == ("1992-12-31T23:59", "1993-01-01T00:00")
    january, december = settled("Jan  1 00:00:02", "Dec 31 23:59:58")
    assert (january, december) == ("1992-01-01T00:00", "1991-12-31T23:59")


def test_events_without_a_time_come_last_and_say_so():
    known = datetime(2031, 5, 6, tzinfo=UTC)
    drafts = [DraftEvent("wmi", {"activity": "query"}, None, 0), DraftEvent("wmi", {"activity": "query"}, known, 1)]
    ordered = in_time_order(drafts)
    assert [draft.time for draft in ordered] == [known, None]
    assert [to_event(draft, "L1-1").timestamp for draft in ordered] == ["2031-05-06T00:00:00Z", NO_TIME]


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("Fri, 06 May 2031 08:00:00 GMT", "2031-05-06T08:00:00Z"),
        ("Fri, 06 May 2031 08:00:00 +0200", "2031-05-06T06:00:00Z"),
        ("6 May 2031 08:00:00", "2031-05-06T08:00:00Z"),
        ("6 May 2031 08:00:00 AZ", None),
    ],
)
def test_a_written_time_in_a_zone_without_an_offset_is_not_understood(text, time):
    moment = read_time(text)

    assert (moment and timestamp(moment)) == time


@pytest.mark.parametrize("text", ["6.5.2031 8.00.00", "6. 5. 2031 8:00:00"])
def test_a_date_by_dots_is_day_first_however_its_clock_is_written(text):
    moment = read_time(text)

    assert (moment and timestamp(moment)) == "2031-05-06T08:00:00Z"


@pytest.mark.parametrize("text", ["06/05/2031 08:00:00 a. m.", "06/05/2031 8.00.00", "06-05-2031 at 08:00:00"])
def test_a_date_that_can_be_read_either_way_is_decided_by_the_file_whoever_reads_it(text):
    times = settle_times([read_time(text), read_time(text.replace("06", "25", 1))])

    assert [time and time.date().isoformat() for time in times] == ["2031-05-06", "2031-05-25"]
