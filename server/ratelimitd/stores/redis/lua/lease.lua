-- Leases: a sorted set of what is held, by the instant at which each expires. x: how long a lease lives.
-- The counter that newcomers share comes second where there is one: a lease may be held there.
local lease = {width = 2}

local function lease_held(key)
  call('ZREMRANGEBYSCORE', key, '-inf', now)
  local held = call('ZCARD', key)
  if held == 0 then return 0, now end
  return held, tonumber(call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
end

local function lease_write(key, id, x)
  call('ZADD', key, now + x, id)
  local last = tonumber(call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
  call(EXPIRE, key, ending(last))
end

function lease.judge(key, kind, hits, prior, amount, x, y, z, bounded, shared, id)
  local held, last = lease_held(key)
  if bounded and held == 0 and not find_place(key, x, kind == PEEK) then return NO_PLACE end
  local fits = held + hits <= amount
  if fits and kind == ACQUIRE then do_later({lease_write, key, id, x}) end
  return fits, held, last
end

function lease.tell(key, kind, hits, amount, x, y, z, bounded, shared, id)
  local place, ends = key, call('ZSCORE', key, id)
  if shared and not ends then
    ends = call('ZSCORE', shared, id)
    if ends then place = shared end
  end
  local held, last = lease_held(place)
  if not ends or tonumber(ends) <= now then return held, last, held, last, 0 end
  if kind == RENEW then
    lease_write(place, id, x)
  else
    call('ZREM', place, id)
  end
  local left, until_then = lease_held(place)
  return held, last, left, until_then, 1
end
