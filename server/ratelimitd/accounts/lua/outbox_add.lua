-- Add a message once: KEYS of the id, messages, due, waiting. ARGV id, body, due, milliseconds to know it, subject,
-- room for all, room for the subject. RETURN 1 added, 0 known, -1 no room.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
if redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[6]) then return -1 end
if tonumber(redis.call('HGET', KEYS[4], ARGV[5]) or '0') >= tonumber(ARGV[7]) then return -1 end
redis.call('SET', KEYS[1], '1', 'PX', ARGV[4])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
redis.call('HINCRBY', KEYS[4], ARGV[5], 1)
return 1
