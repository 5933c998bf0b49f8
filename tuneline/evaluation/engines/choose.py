def other_engine(*a):
    raise NotImplementedError
