-- Sliding windows: this window's count, and the part of the last one that still weighs (its key comes second).
-- x: the window's end; y: its length; z: when the next one ends, until which this one's count matters.
-- A refund of hits that the last window was charged (REFUND_LAST) takes them off that one's count.
local sliding = {width = 2}

local function sliding_crowded(key, last)
  return places_taken(stem(key)) + places_taken(stem(last)) >= room
end

function sliding.judge(key, kind, hits, prior, amount, x, y, z, bounded, last)
  local previous = call('GET', last)
  local weighed = ceil_div(tonumber(previous or 0) * (x - now), y)
  local used
  if kind == PEEK or hits > amount then
    used = look_up(key)
    if bounded and not used and not previous and sliding_crowded(key, last) then return NO_PLACE end
    used = tonumber(used or 0)
  else
    local new
    used, new = count(key, hits)
    if new then
      if bounded then
        local before = previous and -MAX or places_taken(stem(last))
        if not take_place(stem(key), z, before) then return NO_PLACE end
      end
      call(EXPIRE, key, ending(z))
    end
  end
  return used + weighed + prior + hits <= amount, used, tonumber(previous or 0)
end

function sliding.tell(key, kind, hits, amount, x, y, z, bounded, last)
  local previous = call('GET', last)
  if bounded and not previous and call('EXISTS', key) == 0 then
    if kind ~= REPORT then
      if sliding_crowded(key, last) then return NO_PLACE end
      return 0, 0, 0, 0
    end
    if not take_place(stem(key), z, places_taken(stem(last))) then return NO_PLACE end
  end
  if kind == REFUND_LAST then
    local used, before, after = tonumber(call('GET', key) or 0), tell_count(last, REFUND, hits)
    return used, before, used, after
  end
  local ceiling = (MAX - fmod(MAX, y)) / y
  local before, after = tell_count(key, kind, hits, ceiling, z)
  previous = tonumber(previous or 0)
  return before, previous, after, previous
end
