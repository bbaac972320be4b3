-- What all parts of the script share. One call of the script decides a batch; see batch.lua.
-- Numbers are doubles: exact up to MAX, which is where counts saturate, here as in Python. Redis writes a number that
-- it is given with 17 digits, so that all of them reach a command as they are.
local MAX = 9007199254740991
local call, unpack_struct, fmod = redis.call, struct.unpack, math.fmod

-- Of an operation's kinds (model.Kind) those that are told apart; and one more, see sliding_window.lua.
local ACQUIRE, PEEK, REPORT, REFUND, RELEASE, RENEW, REFUND_LAST = 1, 2, 3, 4, 5, 6, 7
local DENIED, PASSED, STALE, CROWDED, BROKEN = 0, 1, 2, 3, 4   -- what becomes of a decision
local REPEATED = 8   -- added where the call's id was known
local FIXED_CHARGE, BOUNDED_FIXED_CHARGE = 1, 65   -- what the commonest operations are (see wire.py)
local NO_PLACE = {}  -- an operation's newcomer finds no place

local now            -- the instant of the batch, microseconds
local EXPIRE, PX, origin  -- how keys are given an end, and the instant that this counts from (see clock.lua)
local room           -- invented counters per family and period
local shared_room    -- whether that room is one for all buckets, which it can be where they share a server
local mine           -- key -> its count before this decision, where a decision charges one twice
local taken_keys, taken_hits, taken = {}, {}, 0   -- what is given back if this decision is denied
local later          -- what is written only once everything has passed; nil: nothing

local function do_later(write)
  later = later or {}
  later[#later + 1] = write
end

-- Exact also where a / b is not: both are whole and below 2^53.
local function ceil_div(a, b)
  local rest = fmod(a, b)
  if rest > 0 then return (a - rest) / b + 1 end
  return (a - rest) / b
end

-- An instant as EXPIRE and PX take it.
local function ending(instant)
  return ceil_div(instant - origin, 1000)
end

-- What the keys of a family and window begin with, up to whose a counter is.
local function stem(key)
  local head = string.match(key, '^(.*:)')
  if shared_room then return (string.gsub(head, '{%x+}', '{0}', 1)) end
  return head
end

-- Remember what a denial gives back.
local function note(key, hits)
  taken = taken + 1
  taken_keys[taken], taken_hits[taken] = key, hits
end

-- Give one of them back; nothing stays of a counter that this decision made.
local function give_back(index)
  if call('DECRBY', taken_keys[index], taken_hits[index]) == 0 then call('DEL', taken_keys[index]) end
end

-- Take a place for a counter that callers can invent and that ends at an instant; `before`: places of an earlier
-- period. False: there is none.
local function take_place(key_stem, instant, before)
  local places = key_stem .. '~places'
  local present = call('INCRBY', places, 1)
  if present == 1 then call(EXPIRE, places, ending(instant)) end
  if present + before > room then
    call('DECRBY', places, 1)
    return false
  end
  note(places, 1)
  return true
end

local function places_taken(key_stem)
  return tonumber(call('GET', key_stem .. '~places') or 0)
end

-- The same for counters that have no window: places are counted by periods, of which the last two matter.
-- `looks`: whether there is one, without taking it.
local function find_place(key, period, looks)
  local index = (now - fmod(now, period)) / period
  local head = stem(key)
  local present, past = head .. string.format('%.0f:', index), places_taken(head .. string.format('%.0f:', index - 1))
  if looks then return places_taken(present) + past < room end
  return take_place(present, now + 2 * period, past)
end

-- Charge a plain count. Gives its exact state before this decision, and whether the count is new. A sum that no double
-- holds is taken apart again.
local function count(key, hits)
  local total = call('INCRBY', key, hits)
  note(key, hits)
  local before = mine and mine[key]
  if before then return before, false end
  before = total - hits
  if total > MAX then
    before = call('DECRBY', key, hits)
    call('INCRBY', key, hits)
  end
  if mine then mine[key] = before end
  return before, total == hits
end

-- The state of a plain count before this decision; nil where there is none.
local function look_up(key)
  return mine and mine[key] or call('GET', key)
end

-- Apply what has happened to a plain count, between 0 and `ceiling`; it ends at an instant. Gives before and after.
local function tell_count(key, kind, hits, ceiling, instant)
  if kind == REFUND then
    local before = tonumber(call('GET', key) or 0)
    if before == 0 then return 0, 0 end
    local after = before - hits
    if after < 0 then after = 0 end
    call('SET', key, after, 'KEEPTTL')
    return before, after
  end
  local after = call('INCRBY', key, hits)
  local before = after - hits
  if after > MAX then before = call('DECRBY', key, hits) end
  if after == hits then call(EXPIRE, key, ending(instant)) end
  if after > ceiling then
    after = ceiling
    call('SET', key, after, 'KEEPTTL')
  end
  return before, after
end
