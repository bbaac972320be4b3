-- Forget an alert: KEYS of the subject's alerts, the feed, the feed's number, states. ARGV id, subject.
-- RETURN 1, or 0 where there was none.
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('HDEL', KEYS[4], ARGV[1])
redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[3]), ARGV[2])
return 1
