-- A batch: decisions in their order, each all-or-nothing on its own, all at one instant of this server's clock.
--
-- ARGV[1] is the least instant that the caller accepts (a clock that runs backwards is not followed), ARGV[2] the room,
-- ARGV[3] whether it is one for all buckets.
-- Then for each decision one blob of doubles, and the ids that it says follow. KEYS are those of the decisions in turn.
-- Blob: operations, the instants from and until which its keys are the right ones, whether charges add up (1), whether
-- its first key is the call's id and for how many ms that is remembered (0: it has none), keys, ids; then seven per
-- operation, of which the first says what it is (see `wire.py`).
-- The answer is one flat list: the instant, then for each decision its status and the states that it was judged on.
local algorithms = {fixed, sliding, bucket, lease}
local out = {now}
local size = 1
local key_at, arg_at = 1, 4
local trouble
local repeated

local function put(a, b, c, d, e)
  size = size + 1
  out[size] = a
  if b then size = size + 1; out[size] = b end
  if c then size = size + 1; out[size] = c end
  if d then size = size + 1; out[size] = d end
  if e then size = size + 1; out[size] = e end
end

local function put_crowded(width)
  for _ = 1, width do put(-1) end
end

-- Whether a call of that id came before: ONCE or PARTLY. The latter found no place for something that it told, which
-- a decision of its own has then counted elsewhere, or not yet; that one has an id too.
local ONCE, PARTLY = '1', '2'
local function seen_before(id_key, lifetime)
  if call('SET', id_key, ONCE, 'NX', 'PX', lifetime) then return false end
  return call('GET', id_key)
end

local algorithm_widths_told = {2, 4, 4, 5}

-- Do one operation; gives whether it keeps the decision from passing, and whether its counter finds no place.
local function operate(algorithm, kind, flags, done, key, hits, prior, amount, x, y, z, second, id)
  local bounded = flags % 2 == 1
  if kind > PEEK then
    if done and kind ~= RELEASE and kind ~= RENEW then kind, hits = REFUND, 0 end
    local before = taken
    local a, b, c, d, e = algorithms[algorithm].tell(key, kind, hits, amount, x, y, z, bounded, second, id)
    taken = before
    if a == NO_PLACE and done == ONCE then
      a, b, c, d = 0, 0, 0, 0
      if algorithm == 1 then c, d = nil, nil end
    elseif a == NO_PLACE then
      put_crowded(algorithm_widths_told[algorithm])
      return false, true
    end
    put(a, b, c, d, e)
    return false, false
  end
  local before = taken
  local fits, a, b = algorithms[algorithm].judge(key, kind, hits, prior, amount, x, y, z, bounded, second, id)
  if fits == NO_PLACE then
    put_crowded(algorithms[algorithm].width)
    return false, true
  end
  put(a, b)
  if fits then return false, false end
  if flags % 4 < 2 then return true, false end
  -- A shadow limit's charge that does not fit is given back, whatever becomes of the call.
  for index = before + 1, taken do do_later({give_back, index}) end
  return false, false
end

-- A charge of a fixed window that has begun and that it fits: most of what Redis does, and so without detours. False
-- where it is not that after all, and then nothing has changed.
local function charge_plainly(key, hits, amount)
  if hits > amount then return false end
  local total = call('INCRBY', key, hits)
  if total == hits or total > amount then
    call('DECRBY', key, hits)
    return false
  end
  taken = taken + 1
  taken_keys[taken], taken_hits[taken] = key, hits
  size = size + 1
  out[size] = total - hits
  return true
end

local function operate_all(blob, ops, key, argument, done)
  local passed, crowded, position = true, false, 57
  for _ = 1, ops do
    local what, hits, amount, prior, x, y, z = unpack_struct('<ddddddd', blob, position)
    position = position + 56
    local first, second, id = KEYS[key], nil, nil
    key = key + 1
    if (what ~= FIXED_CHARGE and what ~= BOUNDED_FIXED_CHARGE) or mine or not charge_plainly(first, hits, amount) then
      local algorithm, flags = what % 8, (what - what % 64) / 64
      local kind = (what % 64 - algorithm) / 8
      if flags >= 4 then
        second = KEYS[key]
        key = key + 1
      end
      if algorithm == 4 then
        id = ARGV[argument]
        argument = argument + 1
      end
      local denies, misses = operate(algorithm, kind, flags, done, first, hits, prior, amount, x, y, z, second, id)
      passed = passed and not denies
      crowded = crowded or misses
    end
  end
  return passed, crowded
end

local function decide()
  local blob, key, argument = ARGV[arg_at], key_at, arg_at + 1
  local ops, from, till, adds_up, remembered, keys, ids = unpack_struct('<ddddddd', blob)
  key_at, arg_at = key + keys, argument + ids
  if now < from or now >= till then return STALE end
  mine = adds_up == 1 and {} or nil
  later = nil
  local done, id_key = false, nil
  if remembered > 0 then
    id_key = KEYS[key]
    done = seen_before(id_key, remembered)
    if done then repeated = REPEATED end
    key = key + 1
  end
  local passed, crowded = operate_all(blob, ops, key, argument, done)
  if crowded or not passed then
    for index = taken, 1, -1 do give_back(index) end
    if crowded and id_key and not done then call('SET', id_key, PARTLY, 'KEEPTTL') end
    return crowded and CROWDED or DENIED
  end
  if later then
    for index = 1, #later do
      local write = later[index]
      write[1](unpack(write, 2))
    end
  end
  return PASSED
end

while arg_at <= #ARGV do
  size = size + 1
  local mark = size
  out[mark], taken, repeated = BROKEN, 0, 0
  local fine, status = pcall(decide)
  if fine then
    out[mark] = status + repeated
  else
    trouble = type(status) == 'table' and status.err or tostring(status)
    size = mark
    for index = taken, 1, -1 do pcall(give_back, index) end
  end
end
for index = size + 1, #out do out[index] = nil end
if trouble then put(trouble) end
return out
