"""The Lua scripts of the coordination store: each runs atomically and is one round trip.

All keys of one script carry one hash tag, so they live in one slot of a cluster. ``index`` is the set of a
run's keys, by which all of them can be dropped. Values: a claim is ``h`` + token while held and ``d`` when
discharged. A join is a hash: ``e:<edge>`` is T or D, ``n`` counts edges, ``t`` taken ones, ``f`` is the edge
that resolved it and ``a`` the answer that edge was given.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script.

    Attributes:
        name: For counting round trips.
        text: Its source.
        sha: By which a server that has seen the source calls it.
    """

    name: str
    text: str
    sha: str


def _script(name: str, text: str) -> Script:
    return Script(name, text, hashlib.sha1(text.encode()).hexdigest())  # noqa: S324 - EVALSHA's own address


CLAIM: Final = _script(
    "claim",
    """
-- KEYS claim, counters, index; ARGV token, lease ms, activity, index ms
local value = redis.call('GET', KEYS[1])
if value == 'd' then return 'done' end
if value and value ~= 'h' .. ARGV[1] then return 'held' end
redis.call('SET', KEYS[1], 'h' .. ARGV[1], 'PX', ARGV[2])
if not value then
  if redis.call('SADD', KEYS[3], KEYS[1]) == 1 then redis.call('PEXPIRE', KEYS[3], ARGV[4]) end
  if ARGV[3] ~= '0' then
    redis.call('HINCRBY', KEYS[2], 'activity', ARGV[3])
    redis.call('PEXPIRE', KEYS[2], ARGV[4])
  end
end
return 'claimed'
""",
)

RENEW: Final = _script(
    "renew",
    """
-- KEYS claims; ARGV token, lease ms
local all = 1
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == 'h' .. ARGV[1] then redis.call('PEXPIRE', key, ARGV[2]) else all = 0 end
end
return all
""",
)

ARRIVE: Final = _script(
    "arrive",
    """
-- KEYS join, index; ARGV edge, expected, first taken fires, ttl ms, then pairs of edge and T or D
local join = KEYS[1]
local created = redis.call('EXISTS', join) == 0
local fired = redis.call('HGET', join, 'f')
for i = 5, #ARGV, 2 do
  local field, state = 'e:' .. ARGV[i], ARGV[i + 1]
  if redis.call('HSETNX', join, field, state) == 1 then
    redis.call('HINCRBY', join, 'n', 1)
    if state == 'T' then redis.call('HINCRBY', join, 't', 1) end
  elseif state == 'T' and redis.call('HGET', join, field) == 'D' then
    redis.call('HSET', join, field, 'T')
    redis.call('HINCRBY', join, 't', 1)
  end
end
redis.call('PEXPIRE', join, ARGV[4])
if created then
  redis.call('SADD', KEYS[2], join)
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
if fired then
  if fired == ARGV[1] then return {redis.call('HGET', join, 'a'), 0} end
  return {'fired', 0}
end
local counts = redis.call('HMGET', join, 'n', 't')
local resolved, taken = tonumber(counts[1] or '0'), tonumber(counts[2] or '0')
local answer = 'open'
if taken > 0 and (ARGV[3] == '1' or resolved >= tonumber(ARGV[2])) then answer = 'ready'
elseif resolved >= tonumber(ARGV[2]) then answer = 'dead' end
if answer ~= 'open' then redis.call('HSET', join, 'f', ARGV[1], 'a', answer) end
return {answer, created and 1 or 0}
""",
)

DISCHARGE: Final = _script(
    "discharge",
    """
-- KEYS counters, claims done, claims released;
-- ARGV token, number done, done ms, activity, progress, ttl ms, channel, hint
local own, done = 'h' .. ARGV[1], tonumber(ARGV[2])
for i = 2, #KEYS do
  local value = redis.call('GET', KEYS[i])
  if i <= done + 1 then
    if not value or value == own then redis.call('SET', KEYS[i], 'd', 'PX', ARGV[3]) end
  elseif value == own then
    redis.call('DEL', KEYS[i])
  end
end
local open
if ARGV[4] ~= '0' then open = redis.call('HINCRBY', KEYS[1], 'activity', ARGV[4]) end
if ARGV[5] ~= '0' then redis.call('HINCRBY', KEYS[1], 'progress', ARGV[5]) end
if ARGV[4] ~= '0' or ARGV[5] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[6]) end
if ARGV[7] ~= '' then redis.call('PUBLISH', ARGV[7], ARGV[8]) end
return open or tonumber(redis.call('HGET', KEYS[1], 'activity') or '0')
""",
)

LEASE: Final = _script(
    "lease",
    """
-- KEYS lease; ARGV holder, lease ms
local value = redis.call('GET', KEYS[1])
if value and value ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
""",
)

RELEASE: Final = _script(
    "release",
    """
-- KEYS lease; ARGV holder
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
""",
)

HEARTBEAT: Final = _script(
    "heartbeat",
    """
-- KEYS workers; ARGV worker, in flight, ttl ms. A worker's field is "<in flight> <when it lapses, ms>".
local now = redis.call('TIME')
local lapses = now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[3]
if tonumber(ARGV[3]) <= 0 then return redis.call('HDEL', KEYS[1], ARGV[1]) end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2] .. ' ' .. string.format('%.0f', lapses))
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 1
""",
)

HEARTBEATS: Final = _script(
    "heartbeats",
    """
-- KEYS workers. Gives worker, in flight, worker, in flight, ... of those that live, and drops the others.
local now = redis.call('TIME')
local now_ms = now[1] * 1000 + math.floor(now[2] / 1000)
local fields, living = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #fields, 2 do
  local count, lapses = string.match(fields[i + 1], '^(%d+) (%d+)$')
  if lapses and tonumber(lapses) > now_ms then
    table.insert(living, fields[i])
    table.insert(living, count)
  else
    redis.call('HDEL', KEYS[1], fields[i])
  end
end
return living
""",
)

FORGET: Final = _script(
    "forget",
    """
-- KEYS index, counters. The indexed keys carry the same hash tag.
local keys = redis.call('SMEMBERS', KEYS[1])
for i = 1, #keys, 500 do redis.call('UNLINK', unpack(keys, i, math.min(i + 499, #keys))) end
return redis.call('UNLINK', KEYS[1], KEYS[2])
""",
)

ALL: Final = (CLAIM, RENEW, ARRIVE, DISCHARGE, LEASE, RELEASE, HEARTBEAT, HEARTBEATS, FORGET)
