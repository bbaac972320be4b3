-- Put off a message or forget it: KEYS of messages, due, states, the subject's alerts, waiting.
-- ARGV id, body, due (empty: forget), alert, state (empty: as it was), subject. RETURN 1.
if ARGV[3] == '' then
  redis.call('ZREM', KEYS[2], ARGV[1])
  if redis.call('HDEL', KEYS[1], ARGV[1]) == 1 and redis.call('HINCRBY', KEYS[5], ARGV[6], -1) <= 0 then
    redis.call('HDEL', KEYS[5], ARGV[6])
  end
elseif redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
end
if ARGV[5] ~= '' and redis.call('HEXISTS', KEYS[4], ARGV[4]) == 1 then
  redis.call('HSET', KEYS[3], ARGV[4], ARGV[5])
end
return 1
