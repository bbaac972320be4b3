-- Hide what is due: KEYS of messages, due. ARGV now, until, most. RETURN the messages.
local ids = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, ARGV[3])
local found = {}
for _, id in ipairs(ids) do
  local body = redis.call('HGET', KEYS[1], id)
  if body then
    redis.call('ZADD', KEYS[2], ARGV[2], id)
    found[#found + 1] = body
  else
    redis.call('ZREM', KEYS[2], id)
  end
end
return found
