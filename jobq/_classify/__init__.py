"""What a provider's exception means for the job: by its shape, importing no SDK.

SDKs disagree on classes and move between HTTP libraries, but their exceptions carry the same few
things: a status, headers, a JSON body, a cause. Those are read here, and class *names* where an
exception carries nothing.

| module     | what it knows                                                      |
| ---------- | ------------------------------------------------------------------ |
| failure    | the classes of failure, and the value that `classify` returns      |
| classifier | the order of things: own rules first, then answers, then transport |
| chain      | which exceptions hide behind one, and how to look at them safely   |
| evidence   | what one exception carries                                         |
| bodies     | what the JSON of an answer says                                    |
| waits      | how long to wait, in the many ways of saying so                    |
| answers    | what a provider's answer means                                     |
| transport  | what it means that no answer came                                  |

Nothing is imported here: enqueuers need `failure` at most, and start sooner without the rest.
"""
