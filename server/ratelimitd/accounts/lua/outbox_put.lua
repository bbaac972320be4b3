-- Keep an alert: KEYS of the subject's alerts, the feed, the feed's number. ARGV id, body, most, subject.
-- RETURN 1, or 0 where the subject has as many as it may.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[3]), ARGV[4])
return 1
