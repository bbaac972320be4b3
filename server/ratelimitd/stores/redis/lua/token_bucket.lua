-- Token buckets: "level at": hits times the window's length that are not refilled yet, and the instant of that level.
-- amount: the rate; x: the burst; y: the window's length; z: how long a bucket can be less than full after a hit.
local bucket = {width = 2}

local function bucket_state(key)
  local state = call('GET', key)
  if not state then return nil, 0, 0 end
  local level, at = string.match(state, '^(%d+) (%d+)$')
  return true, tonumber(level), tonumber(at)
end

local function bucket_level(level, at, amount)
  if now <= at then return level end
  local left = level - (now - at) * amount
  if left > 0 then return left end
  return 0
end

-- Gives the level after, and its instant: never before the one that was there, because what drained since must not
-- drain again for a caller whose time is ahead of this one's.
local function bucket_write(key, kind, hits, amount, x, y, z)
  local _, level, at = bucket_state(key)
  local sign = kind == REFUND and -1 or 1
  local after = bucket_level(level, at, amount) + sign * hits * y
  local ceiling = (x + amount) * y
  if after > ceiling then after = ceiling end
  if after < 0 then after = 0 end
  if at < now then at = now end
  call('SET', key, string.format('%.0f %.0f', after, at), PX, ending(at + z))
  return after, at
end

function bucket.judge(key, kind, hits, prior, amount, x, y, z, bounded)
  local known, level, at = bucket_state(key)
  local fits = bucket_level(level, at, amount) + (prior + hits) * y <= x * y
  if bounded and not known and not (mine and mine[key]) and not find_place(key, z, kind == PEEK) then return NO_PLACE end
  if kind ~= PEEK then
    if mine then mine[key] = true end
    if fits then do_later({bucket_write, key, kind, hits, amount, x, y, z}) end
  end
  return fits, level, at
end

function bucket.tell(key, kind, hits, amount, x, y, z, bounded)
  local known, level, at = bucket_state(key)
  if not known then
    if bounded and not find_place(key, z, kind == REFUND) then return NO_PLACE end
    if kind == REFUND then return 0, 0, 0, 0 end
  end
  return level, at, bucket_write(key, kind, hits, amount, x, y, z)
end
