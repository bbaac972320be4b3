-- Fixed windows: one plain count per window. x: the window's end; z: what a key outlives it by.
local fixed = {width = 1}

local function fixed_crowded(key)
  return places_taken(stem(key)) >= room
end

function fixed.judge(key, kind, hits, prior, amount, x, y, z, bounded)
  if kind == PEEK or hits > amount then
    local used = look_up(key)
    if bounded and not used and fixed_crowded(key) then return NO_PLACE end
    used = tonumber(used or 0)
    return used + prior + hits <= amount, used
  end
  local used, new = count(key, hits)
  if new then
    if bounded and not take_place(stem(key), x + z, 0) then return NO_PLACE end
    call(EXPIRE, key, ending(x + z))
  end
  return used + prior + hits <= amount, used
end

function fixed.tell(key, kind, hits, amount, x, y, z, bounded)
  if bounded and call('EXISTS', key) == 0 then
    if kind == REFUND then
      if fixed_crowded(key) then return NO_PLACE end
      return 0, 0
    end
    if not take_place(stem(key), x + z, 0) then return NO_PLACE end
  end
  return tell_count(key, kind, hits, MAX, x + z)
end
